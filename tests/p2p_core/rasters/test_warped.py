from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import rasterio.warp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from p2p_core.errors import RasterError, SizeMismatchError
from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import choose_resampling, open_geotiff, reproject_bounds, source_px_per_grid_px, warped
from p2p_core.rasters.grid import Bounds, Grid, Transform
from p2p_core.rasters.mercator import tile_range_grid
from p2p_core.rasters.protocol import full_window, grid_of

Noise = Callable[..., NDArray[Any]]
WriteTif = Callable[..., Path]
SOURCE: Transform = (0.5, 0.0, 10.0, 0.0, -0.5, 50.0)


def on_grid(path: Path, grid: Grid, **options: Any) -> NDArray[Any]:
    with warped(path, grid.crs, grid.transform, grid.height_px, grid.width_px, **options) as raster:
        assert (raster.crs, raster.transform) == (grid.crs, grid.transform)
        return raster.read(full_window(raster))


def scaled(times: float, height_px: int, width_px: int) -> Grid:
    return Grid("EPSG:4326", (0.5 * times, 0.0, 10.0, 0.0, -0.5 * times, 50.0), height_px, width_px)


def test_halving_is_the_mean_of_each_block_of_four(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(64, 96, 3)
    path = write_tif(tmp_path / "map.tif", pixels, SOURCE)
    means = pixels.reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(on_grid(path, scaled(2, 32, 48)), np.floor(means + 0.5))


def test_halving_from_an_offset_takes_the_blocks_there(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(64, 96, 1)
    path = write_tif(tmp_path / "map.tif", pixels, SOURCE)
    grid = Grid("EPSG:4326", (1.0, 0.0, 10.0 + 0.5 * 6, 0.0, -1.0, 50.0 - 0.5 * 4), 10, 20)
    means = pixels[4:24, 6:46].reshape(10, 2, 20, 2, 1).mean(axis=(1, 3))
    np.testing.assert_array_equal(on_grid(path, grid), np.floor(means + 0.5))


def test_other_reductions_weigh_pixels_by_their_area(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(10, 10, 1)
    path = write_tif(tmp_path / "map.tif", pixels, SOURCE)
    weights = np.zeros((4, 10))  # 2.5 source pixels a pixel
    for out in range(4):
        for inner in range(10):
            weights[out, inner] = max(0.0, min(inner + 1, 2.5 * (out + 1)) - max(inner, 2.5 * out)) / 2.5
    means = weights @ pixels[..., 0] @ weights.T
    assert np.abs(on_grid(path, scaled(2.5, 4, 4))[..., 0] - means).max() <= 0.51


def test_its_own_grid_gives_the_pixels_unchanged(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(33, 47, 2, np.uint16)
    path = write_tif(tmp_path / "map.tif", pixels, SOURCE)
    np.testing.assert_array_equal(on_grid(path, scaled(1, 33, 47)), pixels)
    part = scaled(1, 33, 47).part(Window(5, 7, 11, 13))
    np.testing.assert_array_equal(on_grid(path, part), pixels[5:16, 7:20])


def test_doubling_is_bilinear(tmp_path: Path, write_tif: WriteTif) -> None:
    ramp = np.tile(np.arange(0, 160, 16, dtype=np.uint8)[None, :, None], (6, 1, 1))
    row = on_grid(write_tif(tmp_path / "ramp.tif", ramp, SOURCE), scaled(0.5, 12, 20))[5, :, 0]
    np.testing.assert_array_equal(row[1:-1], np.arange(4, 148, 8))


@pytest.mark.parametrize(
    ("scales", "name"), [((1, 1), "bilinear"), ((1.99, 1.5), "bilinear"), ((2, 2), "average"), ((2.6, 1.5), "average")]
)
def test_halving_or_more_takes_the_average(scales: tuple[float, float], name: str) -> None:
    assert choose_resampling(*scales) == name


def test_scale_is_measured_where_the_grid_lies() -> None:
    source = Grid("EPSG:4326", (1 / 30, 0.0, -180.0, 0.0, -1 / 30, 90.0), 5400, 10800)
    at_equator = source_px_per_grid_px(source, tile_range_grid(4, range(7, 9), range(7, 9)))
    far_south = source_px_per_grid_px(source, tile_range_grid(4, range(7, 9), range(10, 12)))
    degrees = 360 / 16 / 256
    assert at_equator == pytest.approx((degrees * 30, degrees * 30), rel=1e-3)
    assert far_south[0] == pytest.approx(degrees * 30)
    assert far_south[1] == pytest.approx(degrees * 30 * np.cos(np.radians(55.776573)), rel=1e-3)


@pytest.fixture(scope="module")
def noisy_map(tmp_path_factory: pytest.TempPathFactory, noise: Noise, write_tif: WriteTif) -> Path:
    return write_tif(tmp_path_factory.mktemp("map") / "map.tif", noise(400, 600, 3), SOURCE)


@pytest.mark.parametrize("times", [0.7, 1.5, 2.0, 2.6])
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_part_of_a_grid_is_the_same_part_of_the_whole(noisy_map: Path, times: float, data: st.DataObject) -> None:
    height_px, width_px = int(390 / times), int(590 / times)
    grid = scaled(times, height_px, width_px)
    y_px, x_px = data.draw(st.integers(0, height_px - 1)), data.draw(st.integers(0, width_px - 1))
    part = Window(y_px, x_px, data.draw(st.integers(1, height_px - y_px)), data.draw(st.integers(1, width_px - x_px)))
    np.testing.assert_array_equal(on_grid(noisy_map, grid.part(part)), on_grid(noisy_map, grid)[part.slices])


def test_a_part_of_a_reprojected_grid_is_the_same_part_of_the_whole(noisy_map: Path) -> None:
    """Bilinear enlargement has no filter width to differ in: only inexact coordinates could tell the parts apart."""
    fine = Grid("EPSG:3035", (7000.0, 0.0, 4.4e6, 0.0, -7000.0, 2.9e6), 200, 500)
    whole = on_grid(noisy_map, fine)
    assert (whole > 0).mean() > 0.5
    for part in (Window(0, 0, 1, 500), Window(130, 70, 50, 333), Window(1, 0, 199, 7), Window(77, 450, 100, 50)):
        np.testing.assert_array_equal(on_grid(noisy_map, fine.part(part)), whole[part.slices])


def wave(longitude: NDArray[Any], latitude: NDArray[Any]) -> NDArray[Any]:
    """Smooth over many pixels, so that right places give right values to less than a grey level or two."""
    return 128 + 60 * np.sin(longitude / 9) + 50 * np.cos(latitude / 7)


def test_reprojection_puts_every_pixel_where_it_belongs(tmp_path: Path, write_tif: WriteTif) -> None:
    height, width = 1200, 1400
    longitude, latitude = np.meshgrid(-80 + (np.arange(width) + 0.5) / 20, 10 - (np.arange(height) + 0.5) / 20)
    pixels = np.rint(wave(longitude, latitude)).astype(np.uint8)[..., None]
    path = write_tif(tmp_path / "wave.tif", pixels, (0.05, 0, -80.0, 0, -0.05, 10.0))
    for zoom, columns, rows in [(4, range(5, 7), range(8, 10)), (5, range(10, 12), range(17, 20))]:
        grid = tile_range_grid(zoom, columns, rows)
        y, x = np.mgrid[: grid.height_px, : grid.width_px] + 0.5
        easting, northing = grid.transform[2] + x * grid.transform[0], grid.transform[5] + y * grid.transform[4]
        flat = rasterio.warp.transform("EPSG:3857", "EPSG:4326", easting.ravel(), northing.ravel())
        lon, lat = (np.reshape(axis, x.shape) for axis in flat)
        inside = (np.abs(lon + 45) < 34.5) & (np.abs(lat + 20) < 29.5)
        error = on_grid(path, grid)[..., 0] - wave(lon, lat)
        assert inside.mean() > 0.5
        assert np.abs(error[inside]).max() < 1.5


def test_pixels_outside_the_source_are_zero_or_its_nodata(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(20, 20, 1)
    grid = scaled(1, 20, 20).part(Window(-4, 10, 20, 20))
    for nodata, expected in [(None, 0), (9, 9)]:
        pixels[pixels == 9] = 10
        read = on_grid(write_tif(tmp_path / "map.tif", pixels, SOURCE, nodata=nodata), grid)
        np.testing.assert_array_equal(read[4:, :10], pixels[:16, 10:])
        assert (read[:4] == expected).all()
        assert (read[:, 10:] == expected).all()


def test_an_alpha_band_stays_a_band(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    pixels = noise(16, 16, 4)
    path = write_tif(tmp_path / "rgba.tif", pixels, SOURCE, photometric="RGB", alpha="yes")
    with rasterio.open(path) as dataset:
        assert dataset.colorinterp[3] == ColorInterp.alpha
    pixels[..., 3] = 255
    read = on_grid(write_tif(path, pixels, SOURCE, photometric="RGB", alpha="yes"), scaled(1, 16, 16))
    np.testing.assert_array_equal(read, pixels)


def test_a_grid_elsewhere_is_refused(noisy_map: Path) -> None:
    with pytest.raises(SizeMismatchError, match=r"outside .*map\.tif"):
        warped(noisy_map, "EPSG:4326", (0.5, 0, -100.0, 0, -0.5, -20.0), 10, 10)


@pytest.mark.parametrize("bounds", [Bounds(0, 95, 10, 99), Bounds(float("inf"), 0, float("inf"), 5)])
def test_bounds_without_a_place_in_the_other_crs_are_refused(bounds: Bounds) -> None:
    with pytest.raises(SizeMismatchError, match="no place in EPSG:32632"):
        reproject_bounds(bounds, "EPSG:4326", "EPSG:32632")


def test_bounds_are_reprojected_around_their_bent_edges() -> None:
    west, south, east, north = reproject_bounds(Bounds(9, 50, 15, 60), "EPSG:4326", "EPSG:32632")
    corners = rasterio.warp.transform("EPSG:4326", "EPSG:32632", [9, 9, 15, 15], [50, 60, 50, 60])
    assert (west, east) == pytest.approx((min(corners[0]), max(corners[0])), abs=1)
    assert north == pytest.approx(max(corners[1]), abs=1)
    assert south == pytest.approx(min(corners[1]), abs=1)


def test_a_source_without_a_place_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "plain.tif")
    with pytest.raises(RasterError, match="no place on the Earth") as caught:
        warped(tmp_path / "plain.tif", "EPSG:4326", SOURCE, 4, 4)
    assert caught.value.reason == "not-georeferenced"


def test_a_truncated_source_is_refused_through_a_warp_too(tmp_path: Path, noise: Noise, write_tif: WriteTif) -> None:
    path = write_tif(tmp_path / "cut.tif", noise(300, 300, 3), SOURCE, compress="deflate")
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(RasterError, match=r"cut\.tif") as caught:
        on_grid(path, scaled(2, 150, 150))
    assert caught.value.reason == "truncated"


def test_two_sensors_meet_on_one_grid(shared_data: Path) -> None:
    """A NAIP scene in UTM read at 0.0001 degree steps agrees with one in-memory warp by rasterio."""
    path = shared_data / "naip" / "m_4709963_se_14_1_20150926.tif"
    grid = Grid.of_pixel_size("EPSG:4326", Bounds(-99.17, 47.01, -99.15, 47.02), 0.0001)
    with open_geotiff(path) as raster:
        scale_x, scale_y = source_px_per_grid_px(grid_of(raster), grid)
    assert scale_x == pytest.approx(1.52, abs=0.02)
    with rasterio.open(path) as dataset:
        expected = np.zeros((4, grid.height_px, grid.width_px), np.uint8)
        rasterio.warp.reproject(
            rasterio.band(dataset, [1, 2, 3, 4]),
            expected,
            dst_crs=grid.crs,
            dst_transform=rasterio.Affine(*grid.transform),
            resampling=rasterio.enums.Resampling.bilinear,
            tolerance=1e-6,
            XSCALE=repr(1 / scale_x),
            YSCALE=repr(min(1.0, 1 / scale_y)),
        )
    read = on_grid(path, grid, resampling="bilinear")
    assert (read > 0).mean() > 0.9
    assert np.abs(read.astype(int) - np.moveaxis(expected, 0, 2)).max() <= 1
