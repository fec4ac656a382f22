"""A store built on a real Dask cluster whose workers are killed while they build."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.services.cluster import DaskExecutor, dask_executor
from p2p_core.pairstore import verify_store
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.versions import DIGESTS
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import NameSplit

LAYOUT = StoreLayout(num_buckets=16, pairs_per_shard=4)


@pytest.fixture
def builder(tmp_path: Path) -> FoldersBuilder:
    """60 side-by-side pictures of 2 x 48x48 px."""
    (tmp_path / "pictures").mkdir()
    for i in range(60):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i:03d}.png")
    return FoldersBuilder((tmp_path / "pictures",), FoldersParameters(layout="side_by_side"))


def tree(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file() and path.name != DIGESTS)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def worker_pids(executor: DaskExecutor) -> list[int]:
    def pid(_: int) -> int:
        time.sleep(0.05)
        return os.getpid()

    return sorted(set(executor.map(pid, range(8))))


def build_while_a_worker_dies(executor: DaskExecutor, builder: FoldersBuilder, out: Path, seed: int, took_s: float) -> None:
    rng = random.Random(seed)
    victim, delay_s = rng.choice(worker_pids(executor)), rng.uniform(0, took_s)

    def kill() -> None:
        time.sleep(delay_s)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    build_dataset(builder, out, NameSplit(), layout=LAYOUT, executor=executor)
    killer.join()


def killed_workers(place: Path, builder: FoldersBuilder, num_kills: int) -> None:
    build_dataset(builder, place / "alone", NameSplit(), layout=LAYOUT)
    expected = tree(place / "alone")
    with dask_executor(num_workers=2) as executor:
        started_s = time.monotonic()
        build_dataset(builder, place / "undisturbed", NameSplit(), layout=LAYOUT, executor=executor)
        took_s = time.monotonic() - started_s
        assert tree(place / "undisturbed") == expected
        for seed in range(num_kills):
            out = place / f"killed{seed}"
            build_while_a_worker_dies(executor, builder, out, seed, took_s)
            assert tree(out) == expected  # and so no temporary file is left
            assert verify_store(out) == []


def test_a_build_on_dask_makes_the_same_bytes_whenever_its_workers_are_killed(tmp_path: Path, builder: FoldersBuilder) -> None:
    killed_workers(tmp_path, builder, 1)


@pytest.mark.stress
def test_a_build_on_dask_makes_the_same_bytes_after_many_killed_workers(tmp_path: Path, builder: FoldersBuilder) -> None:
    killed_workers(tmp_path, builder, 30)
