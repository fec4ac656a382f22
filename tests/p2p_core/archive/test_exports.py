"""Exports as readers that are not ours see them, and seams as numbers that a wrong halo changes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import mercantile
import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rio_cogeo.cogeo import cog_validate

from p2p_core.archive.exports import export_cog, export_png, export_xyz
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.pin import pin_job
from p2p_core.archive.seams import check_seams
from p2p_core.archive.translate import translate_archive
from p2p_core.errors import LedgerError, OutputError, RasterError
from p2p_core.files import sha256_file
from p2p_core.rasters.mercator import TileAddress
from p2p_core.rasters.registry import open_raster
from p2p_core.rasters.xyz import write_xyz_tile

JobFactory = Callable[..., ArchiveJob]
ReadImage = Callable[[Path], NDArray[np.uint8]]

ZOOM, COLUMNS, ROWS = 4, (3, 4), (7, 8)


@pytest.fixture
def done(make_job: JobFactory) -> ArchiveJob:
    job = make_job(model_name="world-map2aerial", model_version="7")
    assert translate_archive(job).complete
    return job


@pytest.fixture
def xyz_done(make_job: JobFactory, tmp_path: Path) -> ArchiveJob:
    rng = np.random.default_rng(3)
    for x in COLUMNS:
        for y in ROWS:
            write_xyz_tile(tmp_path / "tree", TileAddress(ZOOM, x, y), rng.integers(0, 256, (256, 256, 3), dtype=np.uint8))
    job = make_job("xyz-out", source=tmp_path / "tree", core_px=256, shard_px=256, chunk_px=128)
    assert translate_archive(job).complete
    return job


def test_a_cog_has_the_sources_place_and_the_outputs_pixels(done: ArchiveJob, tmp_path: Path, read_image: ReadImage) -> None:
    path = export_cog(done.output, tmp_path / "exports" / "scene.tif")
    assert cog_validate(path, strict=True) == (True, [], [])
    with rasterio.open(path) as cog, rasterio.open(done.source) as source:
        assert cog.crs == source.crs
        assert cog.transform == source.transform
        assert cog.nodata is None
        assert cog.overviews(1), "a map viewer wants overviews, of a small scene too"
        assert (np.moveaxis(cog.read(), 0, -1) == read_image(done.output)).all()
        tags = cog.tags()
    assert tags["P2P_SYNTHETIC"] == "yes"
    assert (tags["P2P_MODEL_NAME"], tags["P2P_MODEL_VERSION"]) == ("world-map2aerial", "7")
    job = json.loads((done.output / "job.json").read_bytes())
    assert tags["P2P_BUNDLE_DIGEST"] == job["bundle_digest"]
    assert [file.name for file in path.parent.iterdir()] == ["scene.tif"], "no temporary file is left"


def test_a_cog_carries_nodata(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path]
) -> None:
    pixels_HWC = scene_HWC.clip(0, 254)
    pixels_HWC[:50] = 255
    job = make_job(source=write_scene(tmp_path / "masked.tif", pixels_HWC, nodata=255))
    translate_archive(job)
    with rasterio.open(export_cog(job.output, tmp_path / "masked-out.tif")) as cog:
        assert cog.nodata == 255
        mask = cog.dataset_mask()
    assert not mask[:50].any()
    assert mask[50:].all()


def test_a_plain_image_becomes_a_plain_tiff(make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8]) -> None:
    Image.fromarray(scene_HWC).save(tmp_path / "plain.png")
    job = make_job(source=tmp_path / "plain.png")
    translate_archive(job)
    with open_raster(export_cog(job.output, tmp_path / "plain.tif")) as raster:
        assert (raster.crs, raster.transform) == (None, None)
        assert (raster.height_px, raster.width_px) == scene_HWC.shape[:2]


def test_exporting_again_gives_the_same_bytes(done: ArchiveJob, xyz_done: ArchiveJob, tmp_path: Path) -> None:
    cog, tree = tmp_path / "scene-out.tif", tmp_path / "tree-out"
    for output, export, path in ((done.output, export_cog, cog), (xyz_done.output, export_xyz, tree)):
        digests = []
        for _ in range(2):
            export(output, path)
            digests.append({file: sha256_file(file) for file in [path, *path.rglob("*")] if file.is_file()})
        assert digests[0] == digests[1]


def test_xyz_tiles_lie_where_mercantile_says(xyz_done: ArchiveJob, tmp_path: Path, read_image: ReadImage) -> None:
    tree = export_xyz(xyz_done.output, tmp_path / "tiles")
    pixels_HWC = read_image(xyz_done.output)
    with rasterio.open(export_cog(xyz_done.output, tmp_path / "mosaic.tif")) as cog:
        assert cog.crs.to_epsg() == 3857
        transform = cog.transform
    found = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.png"))
    assert found == sorted(f"{ZOOM}/{x}/{y}.png" for x in COLUMNS for y in ROWS)
    for x in COLUMNS:
        for y in ROWS:
            bounds = mercantile.xy_bounds(x, y, ZOOM)
            left_px, top_px = (round(value) for value in ~transform @ (bounds.left, bounds.top))
            tile_HWC = np.asarray(Image.open(tree / str(ZOOM) / str(x) / f"{y}.png"))
            assert (tile_HWC == pixels_HWC[top_px : top_px + 256, left_px : left_px + 256]).all()
    mark = json.loads((tree / "export.json").read_bytes())
    assert mark["P2P_SYNTHETIC"] == "yes"
    with open_raster(tree) as raster:
        assert (raster.height_px, raster.width_px, raster.crs) == (512, 512, "EPSG:3857")


def test_a_scene_off_the_tile_grid_is_no_tree(done: ArchiveJob, tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r"its CRS is EPSG:4326, not EPSG:3857\. Export it as COG"):
        export_xyz(done.output, tmp_path / "tiles")
    assert not (tmp_path / "tiles").exists()


@pytest.mark.parametrize(
    ("shift_px", "stretch", "size_px", "message"),
    [
        (0.3, 1, 512, "do not lie on"),
        (0, 1.001, 512, "do not lie on"),
        (0, 1, 500, "not whole tiles"),
        (0, 1.6, 512, "do not lie"),
    ],
)
def test_a_mercator_scene_between_tiles_is_no_tree(
    xyz_done: ArchiveJob, shift_px: float, stretch: float, size_px: int, message: str
) -> None:
    from p2p_core.archive.tile_grid import locate_tiles

    transform = pin_job(xyz_done).transform
    assert transform is not None
    a, b, c, d, e, f = transform
    assert list(locate_tiles("EPSG:3857", transform, 512, 512, name="x").columns) == list(COLUMNS)
    moved = (a * stretch, b, c + shift_px * a, d, e * stretch, f)
    with pytest.raises(RasterError, match=message):
        locate_tiles("EPSG:3857", moved, size_px, size_px, name="x")


def test_what_lies_at_the_destination_and_is_not_ours_stays(done: ArchiveJob, xyz_done: ArchiveJob, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"scene\.tif is in the way"):
        export_cog(done.output, done.source)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"sun")
    with pytest.raises(OutputError, match="photos is in the way"):
        export_xyz(xyz_done.output, tmp_path / "photos")
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"sun"
    assert open_raster(done.source).bands == 3


def test_an_unfinished_output_is_not_exported(done: ArchiveJob, tmp_path: Path) -> None:
    (done.output / "summary.json").unlink()
    with pytest.raises(LedgerError, match="is not finished: its run has not ended"):
        export_cog(done.output, tmp_path / "scene-out.tif")


@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_or_missing_shard_stops_an_export_and_is_named(done: ArchiveJob, tmp_path: Path, damage: str) -> None:
    """Zarr would give black pixels for a missing shard, and wrong ones for a flipped bit."""
    shard = done.output / "image.zarr" / "c" / "1" / "2" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.unlink()
    if damage != "missing":
        shard.write_bytes(data if damage == "flipped" else data[:-1])
    for export in (export_cog, export_xyz):
        with pytest.raises((LedgerError, RasterError), match=r"image\.zarr/c/1/2/0: its shard .*then export|not EPSG:3857"):
            export(done.output, tmp_path / "made")
        assert not (tmp_path / "made").exists()
    with pytest.raises(LedgerError, match="Delete that file"):
        export_cog(done.output, tmp_path / "made")
    shard.unlink(missing_ok=True)
    assert translate_archive(done).num_redone == 1
    export_cog(done.output, tmp_path / "made")


def test_a_disk_of_any_size_holds_the_whole_cog_or_nothing(
    make_job: JobFactory, small_disk: Callable[[str], Path], tmp_path: Path, write_scene: Callable[..., Path]
) -> None:
    """GDAL does not report every failed write: some show only when what was written is read back."""
    noise_HWC = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    job = make_job(source=write_scene(tmp_path / "noise.tif", noise_HWC), core_px=128, shard_px=128)
    translate_archive(job)
    whole = sha256_file(export_cog(job.output, tmp_path / "whole.tif"))
    size_kb = (tmp_path / "whole.tif").stat().st_size // 1024
    refusals = []
    for percent in (0.3, 30, 90, 105, 140, 170, *range(180, 240, 6)):
        disk = small_disk(f"size={math.ceil(size_kb * percent / 100)}k")
        try:
            export_cog(job.output, disk / "scene.tif")
        except OutputError as error:
            refusals.append(str(error))
            assert list(disk.iterdir()) == []
        else:
            assert sha256_file(disk / "scene.tif") == whole
            assert [path.name for path in disk.iterdir()] == ["scene.tif"]
    assert 6 < len(refusals) < 16
    assert all("disk/scene.tif" in refusal and "disk is full" in refusal for refusal in refusals)


def test_a_read_only_place_is_one_clear_message(done: ArchiveJob, small_disk: Callable[[str], Path]) -> None:
    with pytest.raises(OutputError, match=r"disk/scene\.tif cannot be written: Read-only file system"):
        export_cog(done.output, small_disk("ro") / "scene.tif")


def test_exact_tiling_has_no_seam(done: ArchiveJob) -> None:
    check = check_seams(done.output, num_windows=6)
    assert check.num_windows == 6
    assert check.max_difference <= 1
    assert 0.9 < check.ratio < 1.1
    # 3 borders of 5 shards each across, 4 of 4 down
    assert check.num_borders == 3 * 5 + 4 * 4


def test_a_halo_that_is_too_small_shows_as_seams(make_job: JobFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job()
    without = pin_job(job).model_copy(update={"halo_px": 0})
    monkeypatch.setattr("p2p_core.archive.translate.pin_job", lambda _: without)
    translate_archive(job)
    check = check_seams(job.output)
    assert check.max_difference > 10
    assert not 0.9 < check.ratio < 1.1


def test_a_scene_of_one_core_has_no_borders(make_job: JobFactory, tmp_path: Path) -> None:
    Image.new("RGB", (30, 20), (9, 90, 200)).save(tmp_path / "small.png")
    job = make_job(source=tmp_path / "small.png")
    translate_archive(job)
    check = check_seams(job.output)
    assert (check.num_borders, check.num_windows, check.max_difference, check.ratio) == (0, 0, 0, 1.0)


def test_a_png_shows_the_outputs_pixels_and_says_what_made_them(
    done: ArchiveJob, tmp_path: Path, read_image: ReadImage
) -> None:
    path = export_png(done.output, tmp_path / "pictures" / "scene.png")
    with Image.open(path) as picture:
        assert (np.asarray(picture) == read_image(done.output)).all()
        assert picture.info["P2P_MODEL_NAME"] == "world-map2aerial"
    before = sha256_file(path)
    assert sha256_file(export_png(done.output, path)) == before, "one of ours is replaced, by the same bytes"
    Image.new("RGB", (8, 8)).save(tmp_path / "mine.png")
    with pytest.raises(OutputError, match=r"mine\.png is in the way"):
        export_png(done.output, tmp_path / "mine.png")
