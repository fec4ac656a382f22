"""Blocked translation is whole-image translation, whatever the blocks, their order and the scene's size."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.pin import pin_job
from p2p_core.archive.seams import check_seams
from p2p_core.archive.translate import translate_archive
from p2p_core.geometry import align_up
from p2p_core.inference.bundle import ModelBundle, load_bundle
from p2p_core.inference.translator import Translator
from p2p_core.rasters.registry import open_raster

JobFactory = Callable[..., ArchiveJob]
ReadImage = Callable[[Path], NDArray[np.uint8]]
Digests = Callable[[Path], dict[str, str]]


class Shuffled:
    """An executor that takes the blocks in another order."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        shuffled = list(items)
        random.Random(self._seed).shuffle(shuffled)
        return map(function, shuffled)


def translate_whole(bundle: ModelBundle, scene_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One forward pass over the scene mirrored outward by the halo and up to the lattice, with numpy's own mirror."""
    lattice_px = bundle.spec.lattice_px
    halo_px = align_up(bundle.spec.halo_px, lattice_px)
    height_px, width_px = scene_HWC.shape[:2]
    below_px, right_px = (align_up(size, lattice_px) - size + halo_px for size in (height_px, width_px))
    padded = np.pad(scene_HWC, ((halo_px, below_px), (halo_px, right_px), (0, 0)), mode="reflect")
    whole = Translator(bundle, norm="frozen", threads=1).translate(padded[np.newaxis])[0]
    return whole[halo_px : halo_px + height_px, halo_px : halo_px + width_px]


def max_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_blocked_translation_equals_whole_image_translation(
    make_job: JobFactory, bundle: ModelBundle, scene_HWC: NDArray[np.uint8], read_image: ReadImage
) -> None:
    job = make_job()
    summary = translate_archive(job)
    assert summary.complete
    assert summary.num_blocks == 4 * 5
    assert summary.num_forwards == 20
    blocked, whole = read_image(job.output), translate_whole(bundle, scene_HWC)
    assert whole.std() > 20, "a flat picture would hide every mistake"
    assert max_difference(blocked, whole) <= 1
    assert (blocked != whole).mean() < 1e-3


def test_half_the_halo_is_not_enough(
    make_job: JobFactory,
    bundle: ModelBundle,
    scene_HWC: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    read_image: ReadImage,
) -> None:
    """The exactness test above can fail: the model needs the halo that it states."""
    job = make_job()
    pinned = pin_job(job)
    half = pinned.model_copy(update={"halo_px": bundle.spec.halo_px // 2})
    monkeypatch.setattr("p2p_core.archive.translate.pin_job", lambda _: half)
    translate_archive(job)
    assert max_difference(read_image(job.output), translate_whole(bundle, scene_HWC)) > 1


def test_a_resnet_is_tiled_exactly_and_needs_its_halo(
    make_job: JobFactory,
    resnet_path: Path,
    scene_HWC: NDArray[np.uint8],
    monkeypatch: pytest.MonkeyPatch,
    read_image: ReadImage,
) -> None:
    """Its own padding mirrors features, the archive's mirrors the scene: a core sees the second alone."""
    resnet = load_bundle(resnet_path)
    job, cut = make_job("resnet", bundle=resnet_path), make_job("cut", bundle=resnet_path)
    translate_archive(job)
    whole = translate_whole(resnet, scene_HWC)
    assert whole.std() > 20
    assert max_difference(read_image(job.output), whole) <= 1
    assert (read_image(job.output) != whole).mean() < 1e-3
    assert pin_job(job).plan.halo_px == 60
    assert check_seams(job.output).max_difference <= 1
    half = pin_job(cut).model_copy(update={"halo_px": 28})
    monkeypatch.setattr("p2p_core.archive.translate.pin_job", lambda _: half)
    translate_archive(cut)
    assert max_difference(read_image(cut.output), whole) > 1


def test_output_is_independent_of_shard_size_and_order(
    make_job: JobFactory, read_image: ReadImage, shard_digests: Digests
) -> None:
    small, large, shuffled = make_job("small"), make_job("large", shard_px=128, chunk_px=128), make_job("shuffled")
    for job, executor in ((small, None), (large, None), (shuffled, Shuffled(3))):
        assert translate_archive(job, executor).complete
    assert (read_image(small.output) == read_image(large.output)).all()
    assert shard_digests(small.output) == shard_digests(shuffled.output)
    assert len(shard_digests(large.output)) == 2 * 3


def test_other_window_shapes_agree_within_one_grey_level(make_job: JobFactory, read_image: ReadImage) -> None:
    small, large = make_job("small"), make_job("large", core_px=128, shard_px=128)
    translate_archive(small)
    translate_archive(large)
    assert max_difference(read_image(small.output), read_image(large.output)) <= 1


def test_threads_of_the_process_are_given_back(make_job: JobFactory) -> None:
    torch.set_num_threads(2)
    try:
        translate_archive(make_job(core_px=128, shard_px=128))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(("height_px", "width_px"), [(1, 1), (5, 3), (1, 90), (64, 64), (65, 33)])
def test_scenes_of_any_size_are_translated(
    make_job: JobFactory, bundle: ModelBundle, tmp_path: Path, height_px: int, width_px: int, read_image: ReadImage
) -> None:
    from PIL import Image

    pixels_HWC = np.random.default_rng(1).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    Image.fromarray(pixels_HWC).save(tmp_path / "tiny.png")
    job = make_job(source=tmp_path / "tiny.png")
    assert translate_archive(job).complete
    assert max_difference(read_image(job.output), translate_whole(bundle, pixels_HWC)) <= 1


def test_nodata_stays_where_it_was_and_appears_nowhere_else(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path], read_image: ReadImage
) -> None:
    pixels_HWC = scene_HWC.clip(1, 255)
    pixels_HWC[40:150, 100:290] = 0
    job = make_job(source=write_scene(tmp_path / "masked.tif", pixels_HWC, nodata=0))
    translate_archive(job)
    output_hidden = (read_image(job.output) == 0).all(axis=-1)
    assert (output_hidden == (pixels_HWC == 0).all(axis=-1)).all()
    with open_raster(job.output) as raster:
        assert raster.nodata == 0
    assert check_seams(job.output).max_difference <= 1


def test_an_output_is_a_raster_with_the_sources_place(make_job: JobFactory, scene_path: Path) -> None:
    job = make_job()
    translate_archive(job)
    with open_raster(job.output) as output, open_raster(scene_path) as source:
        assert (output.crs, output.transform) == (source.crs, source.transform) == ("EPSG:4326", source.transform)
        assert (output.height_px, output.width_px, output.bands) == (230, 300, 3)


def test_what_a_geotiffs_own_mask_hides_is_nodata_of_the_output_and_black_beside_it_is_not(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path], read_image: ReadImage
) -> None:
    pixels_HWC = scene_HWC.copy()
    hidden_HW = np.zeros(pixels_HWC.shape[:2], bool)
    hidden_HW[40:80, 30:150] = True
    pixels_HWC[100:110, 100:110] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        source = write_scene(tmp_path / "masked.tif", pixels_HWC)
        with rasterio.open(source, "r+") as dataset:
            dataset.write_mask(~hidden_HW)
    job = make_job(source=source)
    translate_archive(job)
    with open_raster(job.output) as raster:
        assert raster.nodata == 0
    assert np.array_equal((read_image(job.output) == 0).all(axis=-1), hidden_HW)
    assert check_seams(job.output).max_difference <= 1
