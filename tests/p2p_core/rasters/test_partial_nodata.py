"""Nodata in some bands of a pixel: of measurements it is no measurement, and none of it is blended into its neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio

from p2p_core.archive.nodata import hidden_pixels
from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import open_geotiff, warped
from p2p_core.rasters.protocol import full_window

HOLE = (slice(8, 16), slice(8, 16))


def save(path: Path, dtype: str, nodata: float) -> Path:
    """Two bands of 100; the first lacks 8 x 8 pixels."""
    pixels_CHW = np.full((2, 32, 32), 100, dtype)
    pixels_CHW[(0, *HOLE)] = nodata
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 400_000, 0, -10, 5_000_000)}
    with rasterio.open(path, "w", driver="GTiff", height=32, width=32, count=2, dtype=dtype, nodata=nodata, **place) as dataset:
        dataset.write(pixels_CHW)
    return path


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("float32", -9999.0), ("int16", -9999)])
def test_a_pixel_without_a_value_in_one_band_is_no_measurement(tmp_path: Path, dtype: str, nodata: float) -> None:
    with open_geotiff(save(tmp_path / "a.tif", dtype, nodata)) as raster:
        pixels_HWC, measured_HW = raster.read_measured(full_window(raster))
    expected_HW = np.ones((32, 32), bool)
    expected_HW[HOLE] = False
    assert np.array_equal(measured_HW, expected_HW)
    assert np.array_equal(hidden_pixels(pixels_HWC, nodata), ~expected_HW), "translation sees the same"


@pytest.mark.parametrize(("dtype", "nodata"), [("uint16", 0), ("float32", -9999.0), ("int16", -9999)])
def test_nodata_of_one_band_is_not_blended_into_its_neighbours(tmp_path: Path, dtype: str, nodata: float) -> None:
    path = save(tmp_path / "a.tif", dtype, nodata)
    with warped(path, "EPSG:32633", (10, 0, 400_003, 0, -10, 4_999_997), 31, 31) as raster:
        pixels_HWC, measured_HW = raster.read_measured(Window(0, 0, 31, 31))
    assert np.unique(pixels_HWC[measured_HW]).tolist() == [100]
    assert 36 <= (~measured_HW).sum() <= 64


def test_a_pure_colour_of_a_picture_whose_nodata_is_black_is_measured(tmp_path: Path) -> None:
    with open_geotiff(save(tmp_path / "a.tif", "uint8", 0)) as raster:
        pixels_HWC, measured_HW = raster.read_measured(full_window(raster))
    assert measured_HW.all()
    assert not hidden_pixels(pixels_HWC, 0).any()
