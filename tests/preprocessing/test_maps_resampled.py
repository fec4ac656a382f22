"""Inputs in another CRS and resolution than the target's, with borders where nothing was measured. The target's grid wins.

The ground is a made pattern of place: what a pixel should hold is known from its longitude and latitude alone.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import rasterio
import rasterio.warp
from numpy.typing import NDArray

from p2p_core.geometry import Window
from preprocessing.build import build_dataset
from preprocessing.latitude import latitude_split
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.pairs import Outcome, Pair, Rejected

UTM, DEGREES = "EPSG:32633", "EPSG:4326"
TILE_PX = 32
TOLERANCE = 2  # grey levels, for rounding and what resampling smooths
TARGET = (rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000), 256, 320)  # 2.56 x 3.2 km around 15 E, 47.84 N

Pixels = NDArray[np.uint8]


def ground(crs: str, transform: rasterio.Affine, height_px: int, width_px: int) -> NDArray[np.float64]:
    """(H, W, 3) of 40 to 220: waves of some 300 to 500 m, a different one in each band."""
    columns, rows = np.meshgrid(np.arange(width_px) + 0.5, np.arange(height_px) + 0.5)
    xs, ys = transform @ (columns.ravel(), rows.ravel())
    longitudes, latitudes = (np.array(c) for c in rasterio.warp.transform(crs, DEGREES, xs, ys))
    x, y = (longitudes - 15) * 74_700, (latitudes - 47.84) * 111_200  # roughly metres
    waves = [np.sin(x / 60), np.sin(y / 55 + 1), np.sin((x + y) / 75)]
    return (130 + 90 * np.stack(waves, axis=-1)).reshape(height_px, width_px, 3)


def save(
    path: Path,
    pixels_HWC: Pixels,
    crs: str,
    transform: rasterio.Affine,
    *,
    nodata: int | None = None,
    mask: Pixels | None = None,
) -> Path:
    height_px, width_px, _ = pixels_HWC.shape
    size = {"height": height_px, "width": width_px, "count": 3, "dtype": "uint8", "nodata": nodata}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, compress="deflate", **size) as dataset,
    ):
        dataset.write(np.moveaxis(pixels_HWC, 2, 0))
        if mask is not None:
            dataset.write_mask(mask)
    return path


def scene(crs: str, pixel_m: float, *, margin_m: float = 500) -> tuple[rasterio.Affine, int, int]:
    """A grid around the target's ground."""
    transform, height_px, width_px = TARGET
    west, north = transform @ (0, 0)
    east, south = transform @ (width_px, height_px)
    bounds = (west - margin_m, south - margin_m, east + margin_m, north + margin_m)
    left, bottom, right, top = rasterio.warp.transform_bounds(UTM, crs, *bounds)
    pixel = pixel_m / 111_200 if crs == DEGREES else pixel_m
    grid = rasterio.Affine(pixel, 0, left, 0, -pixel, top)
    return grid, int((top - bottom) / pixel), int((right - left) / pixel)


def measured(crs: str, grid: tuple[rasterio.Affine, int, int]) -> Pixels:
    return np.rint(ground(crs, *grid)).astype(np.uint8)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return save(tmp_path / "aerial.tif", measured(UTM, TARGET), UTM, TARGET[0])


def outcomes(input_path: Path, target_path: Path, **values: object) -> dict[tuple[int, int], Outcome]:
    """By (row, column) of the tile."""
    builder = MapsBuilder((input_path, target_path), MapsParameters.model_validate({"tile_px": TILE_PX, **values}))
    found = [outcome for source in builder.sources() for outcome in builder.build(source)]
    tile_px = builder.size_px()[0]
    places = [(o.window.y_px // tile_px, o.window.x_px // tile_px) for o in found if o.window]
    return dict(zip(places, found, strict=True))


def rejected_places(found: dict[tuple[int, int], Outcome]) -> dict[tuple[int, int], str]:
    return {place: o.reason for place, o in found.items() if isinstance(o, Rejected)}


@pytest.mark.parametrize(
    ("crs", "pixel_m"),
    [(DEGREES, 5), (DEGREES, 10), (DEGREES, 17), ("EPSG:3857", 8), ("EPSG:32632", 10), (UTM, 13)],
    ids=["degrees-finer", "degrees", "degrees-coarser", "mercator", "next-utm-zone", "same-crs-coarser"],
)
def test_an_input_of_another_crs_and_resolution_lies_on_the_targets_pixels(
    tmp_path: Path, target: Path, crs: str, pixel_m: float
) -> None:
    """A shift by half a target pixel is 6 to 8 grey levels off."""
    grid = scene(crs, pixel_m)
    found = outcomes(save(tmp_path / "map.tif", measured(crs, grid), crs, grid[0]), target)
    assert len(found) == 80
    assert not rejected_places(found)
    for pair in found.values():
        assert isinstance(pair, Pair)
        difference = pair.input_HWC.astype(int) - pair.target_HWC
        assert np.abs(difference).max() <= TOLERANCE
        assert abs(difference.mean()) < 1


def test_a_resampled_tile_does_not_depend_on_how_the_ground_is_cut_into_sources(tmp_path: Path, target: Path) -> None:
    grid = scene(DEGREES, 7)
    pixels = measured(DEGREES, grid)
    pixels[:150, :150] = 0
    path = save(tmp_path / "map.tif", pixels, DEGREES, grid[0], nodata=0)
    whole, parts = (outcomes(path, target, source_px=px) for px in (10_000, TILE_PX))
    assert rejected_places(whole) == rejected_places(parts)
    for place, pair in whole.items():
        if isinstance(pair, Pair):
            np.testing.assert_array_equal(pair.input_HWC, getattr(parts[place], "input_HWC", None))


@pytest.mark.parametrize("kind", ["nodata", "mask"])
@pytest.mark.parametrize("crs", [DEGREES, UTM])
def test_a_border_of_nodata_rejects_its_tiles_and_darkens_no_other(tmp_path: Path, target: Path, crs: str, kind: str) -> None:
    """A slanting border, as scenes of satellites have; beside it a pixel is made of measured ones alone."""
    grid = scene(crs, 9)
    pixels = measured(crs, grid)
    height_px, width_px = pixels.shape[:2]
    columns, rows = np.meshgrid(np.arange(width_px), np.arange(height_px))
    border = columns < width_px * 0.45 - rows * 0.3
    pixels[border] = 0
    mask = np.where(border, 0, 255).astype(np.uint8)
    kinds = {"nodata": {"nodata": 0}, "mask": {"mask": mask}}
    found = outcomes(save(tmp_path / "map.tif", pixels, crs, grid[0], **kinds[kind]), target)
    # Which of the target's pixels the border covers, from their own place.
    to_source = ~grid[0]
    target_columns, target_rows = np.meshgrid(np.arange(TARGET[2]) + 0.5, np.arange(TARGET[1]) + 0.5)
    xs, ys = TARGET[0] @ (target_columns.ravel(), target_rows.ravel())
    xs, ys = (np.array(c) for c in rasterio.warp.transform(UTM, crs, xs, ys))
    source_x, source_y = to_source @ (xs, ys)
    covered = (np.floor(source_x) < width_px * 0.45 - np.floor(source_y) * 0.3).reshape(TARGET[1], TARGET[2])
    num_rejected = num_partly = 0
    for (row, column), outcome in found.items():
        place = Window(row * TILE_PX, column * TILE_PX, TILE_PX, TILE_PX).slices
        share = covered[place].mean()
        if share > 0.12:
            assert isinstance(outcome, Rejected)
            assert outcome.reason == "nodata"
            assert abs(float(outcome.detail.split("%")[0]) / 100 - share) < 0.03
            num_rejected += 1
        elif share < 0.08:
            assert isinstance(outcome, Pair)
            lit = outcome.input_HWC.any(axis=-1)
            assert abs((~lit).mean() - share) < 0.03
            assert outcome.input_HWC[lit].min() >= 38  # the ground has 40 and more; a blend with 0 would have less
            num_partly += share > 0
    assert num_rejected > 10
    assert num_partly > 0


def test_a_mask_is_kept_out_of_its_neighbours_where_corners_are_shared(tmp_path: Path, target: Path) -> None:
    """Half the pixel size on the same ground, scaled if all of it were measured; the border cuts pixels in two."""
    grid = TARGET[0] @ rasterio.Affine.scale(0.5), TARGET[1] * 2, TARGET[2] * 2
    pixels = measured(UTM, grid)
    pixels[:, :67] = 0
    mask = np.full(pixels.shape[:2], 255, np.uint8)
    mask[:, :67] = 0
    found = outcomes(save(tmp_path / "map.tif", pixels, UTM, grid[0], mask=mask), target)
    assert rejected_places(found) == {(row, 0): "nodata" for row in range(8)}
    for row in range(8):
        beside = found[row, 1]
        assert isinstance(beside, Pair)
        lit = beside.input_HWC.any(axis=-1)
        assert (~lit).mean() <= 2 / TILE_PX
        assert np.abs(beside.input_HWC.astype(int) - beside.target_HWC)[lit].max() <= 10


def test_ground_that_the_input_does_not_reach_is_nodata_although_its_file_has_none(tmp_path: Path, target: Path) -> None:
    """A map of the western half in another CRS; zeros that were never measured must not become black pairs."""
    transform, height_px, width_px = scene(DEGREES, 10)
    grid = transform, height_px, width_px // 2
    found = outcomes(save(tmp_path / "map.tif", measured(DEGREES, grid), DEGREES, grid[0]), target)
    assert set(rejected_places(found).values()) == {"nodata"}
    columns = {column: {row for row, c in rejected_places(found) if c == column} for column in range(10)}
    assert not any(columns[column] for column in range(4))
    assert all(len(columns[column]) == 8 for column in range(6, 10))


def test_black_in_one_band_is_a_colour_and_no_nodata(tmp_path: Path, target: Path) -> None:
    grid = scene(DEGREES, 10)
    pixels = measured(DEGREES, grid)
    pixels[..., 1] = 0
    found = outcomes(save(tmp_path / "map.tif", pixels, DEGREES, grid[0], nodata=0), target)
    assert not rejected_places(found)
    for pair in found.values():
        assert isinstance(pair, Pair)
        assert not pair.input_HWC[..., 1].any()
        assert np.abs(pair.input_HWC[..., 0].astype(int) - pair.target_HWC[..., 0]).max() <= TOLERANCE


def test_nodata_of_the_target_rejects_its_tiles_too(tmp_path: Path) -> None:
    pixels = measured(UTM, TARGET)
    pixels[:, :TILE_PX] = 0
    pixels[:TILE_PX] = 0
    grid = scene(DEGREES, 10)
    path = save(tmp_path / "aerial.tif", pixels, UTM, TARGET[0], nodata=0)
    found = outcomes(save(tmp_path / "map.tif", measured(DEGREES, grid), DEGREES, grid[0]), path)
    edge = {(row, column) for row in range(8) for column in range(10) if not (row and column)}
    assert rejected_places(found) == dict.fromkeys(edge, "nodata")


def write_vrt(
    path: Path, scenes: list[tuple[Path, int]], crs: str, transform: rasterio.Affine, height_px: int, width_px: int
) -> Path:
    """A mosaic of scenes on one grid, each at its column; a later one lies over an earlier, but for its nodata."""
    root = ElementTree.Element("VRTDataset", rasterXSize=str(width_px), rasterYSize=str(height_px))
    ElementTree.SubElement(root, "SRS").text = crs
    ElementTree.SubElement(root, "GeoTransform").text = ", ".join(map(str, transform.to_gdal()))
    for band in range(1, 4):
        node = ElementTree.SubElement(root, "VRTRasterBand", dataType="Byte", band=str(band))
        ElementTree.SubElement(node, "NoDataValue").text = "0"
        for file, column in scenes:
            with rasterio.open(file) as dataset:
                size = {"xSize": str(dataset.width), "ySize": str(dataset.height)}
            source = ElementTree.SubElement(node, "ComplexSource")
            ElementTree.SubElement(source, "SourceFilename", relativeToVRT="1").text = file.name
            ElementTree.SubElement(source, "SourceBand").text = str(band)
            ElementTree.SubElement(source, "SrcRect", xOff="0", yOff="0", **size)
            ElementTree.SubElement(source, "DstRect", xOff=str(column), yOff="0", **size)
            ElementTree.SubElement(source, "NODATA").text = "0"
    ElementTree.ElementTree(root).write(path)
    return path


def test_overlapping_scenes_with_nodata_borders_join_in_a_vrt(tmp_path: Path, target: Path) -> None:
    """Two scenes, each with a border of nodata where the other has ground: one seamless input."""
    transform, height_px, width_px = scene("EPSG:32632", 10)
    pixels = measured("EPSG:32632", (transform, height_px, width_px))
    middle, overlap = width_px // 2, 40
    west, east = pixels[:, : middle + overlap].copy(), pixels[:, middle - overlap :].copy()
    west[:, -15:] = 0
    east[:, :15] = 0
    files = [
        save(tmp_path / "west.tif", west, "EPSG:32632", transform, nodata=0),
        save(tmp_path / "east.tif", east, "EPSG:32632", transform @ rasterio.Affine.translation(middle - overlap, 0), nodata=0),
    ]
    vrt = write_vrt(
        tmp_path / "both.vrt", [(files[0], 0), (files[1], middle - overlap)], "EPSG:32632", transform, height_px, width_px
    )
    found = outcomes(vrt, target)
    assert not rejected_places(found)
    for pair in found.values():
        assert isinstance(pair, Pair)
        assert np.abs(pair.input_HWC.astype(int) - pair.target_HWC).max() <= TOLERANCE
    one = outcomes(files[0], target)
    assert 0 < len(rejected_places(one)) < 80
    builder = MapsBuilder((vrt, target), MapsParameters(tile_px=TILE_PX))
    before = builder.sources()[0].digest
    east[100:110] = 77
    save(files[1], east, "EPSG:32632", transform @ rasterio.Affine.translation(middle - overlap, 0), nodata=0)
    assert builder.sources()[0].digest != before


def test_a_scene_lies_on_its_part_of_a_target_that_goes_round_the_globe(tmp_path: Path) -> None:
    """Most of such a target has no place in the scene's CRS; the bounds are what counts."""
    globe = rasterio.Affine(0.1, 0, -180, 0, -0.1, 90)
    pixels = np.random.default_rng(1).integers(0, 256, (1800, 3600, 3), dtype=np.uint8)
    target_path = save(tmp_path / "world.tif", pixels, DEGREES, globe)
    grid = rasterio.Affine(1000, 0, 300_000, 0, -1000, 5_500_000), 400, 400
    band = np.linspace(50, 200, 400)[:, None, None]  # brighter to the south
    path = save(tmp_path / "map.tif", np.broadcast_to(band, (400, 400, 3)).astype(np.uint8), UTM, grid[0])
    found = outcomes(path, target_path, tile_px=8, bounds=(13.0, 46.5, 16.0, 49.0), quality={"min_std": 0})
    assert len(found) == 3 * 3
    for pair in found.values():
        assert isinstance(pair, Pair)
        assert pair.window is not None
        np.testing.assert_array_equal(pair.target_HWC, pixels[pair.window.slices])
        _, northings = rasterio.warp.transform(
            DEGREES, UTM, [-180 + 0.1 * (pair.window.x_px + 4)] * 8, [90 - 0.1 * (pair.window.y_px + i + 0.5) for i in range(8)]
        )
        expected = 50 + 150 * (5_500_000 - np.array(northings)) / 400_000
        assert np.abs(pair.input_HWC[:, 4, 0] - expected).max() < 2


def test_a_store_of_a_resampled_input_is_the_same_bytes_when_built_again(tmp_path: Path, target: Path, tree) -> None:
    grid = scene(DEGREES, 12)
    builder = MapsBuilder(
        (save(tmp_path / "map.tif", measured(DEGREES, grid), DEGREES, grid[0], nodata=0), target),
        MapsParameters(tile_px=TILE_PX, source_px=64),
    )
    rule = latitude_split(builder, buffer_px=0)
    one, two = (build_dataset(builder, tmp_path / name, rule) for name in ("one", "two"))
    assert sum(one.counts.values()) == 80
    assert tree(one.version_path) == tree(two.version_path)
