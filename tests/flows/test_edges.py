"""Edges on a real cluster: other processes, the same bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from flows.services.cluster import DaskExecutor, dask_executor
from p2p_core.pairstore.versions import DIGESTS
from preprocessing.build import build_dataset
from preprocessing.edges.builder import EdgesBuilder, EdgesParameters
from preprocessing.edges.detect import WeightsChoice
from preprocessing.edges.directory import draw_edges
from preprocessing.edges.drawing import EdgesConfig
from preprocessing.split import Fractions, NameSplit


@pytest.fixture(scope="module")
def executor() -> Iterator[DaskExecutor]:
    with dask_executor(num_workers=2) as executor:
        yield executor


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Ten photos, parts of real ones, and one that is none."""
    place = tmp_path / "album"
    place.mkdir()
    for index in range(10):
        photo_HWC = (skimage.data.astronaut, skimage.data.coffee)[index % 2]()[20 * index :, 20 * index :]
        Image.fromarray(cv2.resize(photo_HWC, (48, 48), interpolation=cv2.INTER_AREA)).save(place / f"{index}.png")
    (place / "text.png").write_text("this is no picture")
    return place


def files(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name != DIGESTS)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_a_cluster_draws_and_builds_what_this_process_does(album: Path, tmp_path: Path, executor: DaskExecutor) -> None:
    builder = EdgesBuilder((album,), EdgesParameters(resize_px=(48, 48)))
    rule = NameSplit(fractions=Fractions(train=0.6, val=0.2, test=0.2))
    here = draw_edges(album, tmp_path / "here", EdgesConfig(), WeightsChoice())
    build_dataset(builder, tmp_path / "store", rule)
    there = draw_edges(album, tmp_path / "there", EdgesConfig(), WeightsChoice(), executor=executor)
    build_dataset(builder, tmp_path / "stores", rule, executor=executor)
    again = draw_edges(album, tmp_path / "there", EdgesConfig(), WeightsChoice(), executor=executor)
    assert files(tmp_path / "there") == files(tmp_path / "here")
    assert files(tmp_path / "stores") == files(tmp_path / "store")
    assert (there.num_made, there.num_unchanged, len(there.failures)) == (10, 0, 1) == (here.num_made, 0, len(here.failures))
    assert (again.num_made, again.num_unchanged, len(again.failures)) == (0, 10, 1)
    pictures = [np.asarray(Image.open(tmp_path / "there" / f"{index}.png")) for index in range(10)]
    assert all((picture == 0).any() for picture in pictures)


def test_a_photo_that_kills_its_workers_is_a_failure_and_the_rest_is_drawn(
    album: Path, tmp_path: Path, executor: DaskExecutor
) -> None:
    """As one that needs more memory than there is."""
    from preprocessing.edges import directory

    class Deadly(directory._Work):
        def __call__(self, jobs):  # type: ignore[no-untyped-def]
            if any(job.name == "5" for job in jobs):
                os._exit(9)
            return super().__call__(jobs)

    work = Deadly(EdgesConfig(), WeightsChoice(), "key", "cpu")
    jobs = [directory._Job(str(i), album / f"{i}.png", tmp_path / "out" / f"{i}.png") for i in range(10)]
    settled = [item for batch in directory._batches(jobs, work, executor) for item in batch]
    lost = [item.rejected for item in settled if item.rejected]
    assert {rejected.item for rejected in lost} == {"4", "5", "6", "7"}
    assert {rejected.reason for rejected in lost} == {"lost"}
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
