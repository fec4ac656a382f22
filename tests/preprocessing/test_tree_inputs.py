"""An XYZ tree as the input of a GeoTIFF: resampled to its grid, in any CRS; what no tile shows is nodata.

The ground is a pattern of place, so what a pixel should hold is known from its coordinates alone.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import rasterio.warp
from PIL import Image

from p2p_core.errors import ConfigError
from p2p_core.geometry import Window
from p2p_core.rasters.mercator import TileAddress, tile_bounds_m
from p2p_core.rasters.xyz import tile_path
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.pairs import Outcome, Pair, Rejected

ZOOM, TILE_PX, SIDE_PX = 14, 64, 32
COLUMNS, ROWS = range(8800, 8806), range(5600, 5606)
MERCATOR, UTM = "EPSG:3857", "EPSG:32632"
TOLERANCE = 3  # grey levels: bilinear smooths waves of some 20 pixels a little


def ground(xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """(..., 3) from EPSG:3857 metres."""
    return 130 + 90 * np.stack([np.sin(xs / 500), np.sin(ys / 450), np.sin((xs + ys) / 600)], axis=-1)


def pattern(crs: str, transform: rasterio.Affine, height_px: int, width_px: int) -> np.ndarray:
    columns, rows = np.meshgrid(np.arange(width_px) + 0.5, np.arange(height_px) + 0.5)
    xs, ys = transform @ (columns.ravel(), rows.ravel())
    xs, ys = rasterio.warp.transform(crs, MERCATOR, xs, ys)
    return ground(np.array(xs), np.array(ys)).reshape(height_px, width_px, 3)


def tile_pixels(address: TileAddress) -> np.ndarray:
    bounds = tile_bounds_m(address)
    pixel_m = (bounds.east - bounds.west) / TILE_PX
    transform = rasterio.Affine(pixel_m, 0, bounds.west, 0, -pixel_m, bounds.north)
    return np.rint(pattern(MERCATOR, transform, TILE_PX, TILE_PX)).astype(np.uint8)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for x in COLUMNS:
        for y in ROWS:
            path = tile_path(tmp_path / "osm", TileAddress(ZOOM, x, y))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tile_pixels(TileAddress(ZOOM, x, y))).save(path)
    return tmp_path / "osm"


def target_of(path: Path, crs: str, pixel_m: float, save_geotiff, picture) -> tuple[Path, rasterio.Affine]:
    """128 x 160 px about the middle of the tree."""
    middle = tile_bounds_m(TileAddress(ZOOM, COLUMNS[3], ROWS[3]))
    xs, ys = rasterio.warp.transform(MERCATOR, crs, [middle.west], [middle.north])
    west, north = xs[0] - 80 * pixel_m, ys[0] + 64 * pixel_m
    save_geotiff(path, picture(128, 160, 3), crs=crs, west=west, north=north, pixel=pixel_m)
    return path, rasterio.Affine(pixel_m, 0, west, 0, -pixel_m, north)


def outcomes(builder: MapsBuilder) -> list[Outcome]:
    return [outcome for source in builder.sources() for outcome in builder.build(source)]


def inside(known_HW: np.ndarray) -> np.ndarray:
    """Without the pixels at the edge of what is known, which show less of their ground than the others."""
    padded_HW = np.pad(known_HW, 2).astype(np.uint8)
    return cv2.erode(padded_HW, np.ones((5, 5), np.uint8))[2:-2, 2:-2].astype(bool)


def parameters(**values: object) -> MapsParameters:
    return MapsParameters.model_validate({"tile_px": SIDE_PX, **values})


@pytest.mark.parametrize(("crs", "pixel_m"), [(UTM, 20.0), (UTM, 60.0), (MERCATOR, 17.3)])
def test_a_tree_is_resampled_to_the_targets_grid(tmp_path, tree, save_geotiff, picture, crs, pixel_m) -> None:
    target, transform = target_of(tmp_path / "aerial.tif", crs, pixel_m, save_geotiff, picture)
    wanted = pattern(crs, transform, 128, 160)
    found = outcomes(MapsBuilder((tree, target), parameters(max_nodata_fraction=1)))
    pairs = [outcome for outcome in found if isinstance(outcome, Pair)]
    assert len(pairs) >= 16
    for pair in pairs:
        known = inside(pair.input_HWC.any(axis=-1))  # ground outside the tree is black
        assert np.abs(pair.input_HWC - wanted[pair.window.slices])[known].max() <= TOLERANCE
    if pixel_m < 60:
        assert len(pairs) == 20
        assert all(pair.input_HWC.any(axis=-1).all() for pair in pairs)


def test_a_pixel_of_a_tree_depends_on_its_place_and_not_on_how_sources_are_cut(tmp_path, tree, save_geotiff, picture) -> None:
    target, _ = target_of(tmp_path / "aerial.tif", UTM, 20.0, save_geotiff, picture)
    cuts = [outcomes(MapsBuilder((tree, target), parameters(source_px=px))) for px in (32, 64, 1000)]
    whole = [{outcome.pair_id: outcome.input_HWC for outcome in cut} for cut in cuts]
    for other in whole[1:]:
        assert other.keys() == whole[0].keys()
        assert all(np.array_equal(pixels, whole[0][pair_id]) for pair_id, pixels in other.items())


def test_missing_and_transparent_tiles_are_nodata_and_blended_into_nothing(tmp_path, tree, save_geotiff, picture) -> None:
    target, transform = target_of(tmp_path / "aerial.tif", UTM, 20.0, save_geotiff, picture)
    tile_path(tree, TileAddress(ZOOM, COLUMNS[3], ROWS[3])).unlink()
    for x in COLUMNS:
        for y in ROWS:
            path = tile_path(tree, TileAddress(ZOOM, x, y))
            if path.exists():
                alpha = np.full((TILE_PX, TILE_PX, 1), 0 if (x, y) == (COLUMNS[2], ROWS[2]) else 255, np.uint8)
                Image.fromarray(np.concatenate([tile_pixels(TileAddress(ZOOM, x, y)), alpha], axis=-1)).save(path)
    found = outcomes(MapsBuilder((tree, target), parameters()))
    assert {o.reason for o in found if isinstance(o, Rejected)} == {"nodata"}
    wanted = pattern(UTM, transform, 128, 160)
    pairs = [o for o in outcomes(MapsBuilder((tree, target), parameters(max_nodata_fraction=1))) if isinstance(o, Pair)]
    empty = 0
    for pair in pairs:
        known = pair.input_HWC.any(axis=-1)
        empty += (~known).sum()
        known = inside(known)
        assert np.abs(pair.input_HWC - wanted[pair.window.slices])[known].max() <= TOLERANCE
    assert empty > 0


def test_a_corrupt_tile_costs_the_tiles_above_it(tmp_path, tree, save_geotiff, picture) -> None:
    target, _ = target_of(tmp_path / "aerial.tif", UTM, 20.0, save_geotiff, picture)
    path = tile_path(tree, TileAddress(ZOOM, COLUMNS[3], ROWS[3]))
    path.write_bytes(path.read_bytes()[:60])
    found = outcomes(MapsBuilder((tree, target), parameters()))
    bad = [outcome for outcome in found if isinstance(outcome, Rejected)]
    assert 0 < len(bad) < len(found)
    assert all(outcome.detail.startswith("input/osm") for outcome in bad)
    assert any(isinstance(outcome, Pair) and outcome.window == Window(0, 0, SIDE_PX, SIDE_PX) for outcome in found)


def test_of_several_zooms_one_has_to_be_chosen(tmp_path, tree, save_geotiff, picture) -> None:
    target, _ = target_of(tmp_path / "aerial.tif", UTM, 20.0, save_geotiff, picture)
    (tree / "9").mkdir()
    with pytest.raises(ConfigError, match=r"osm holds the zooms 9, 14. Choose one"):
        MapsBuilder((tree, target), parameters()).sources()
    assert len(outcomes(MapsBuilder((tree, target), parameters(zoom=ZOOM)))) == 20
