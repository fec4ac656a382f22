"""Which pixels of a GeoTIFF hold a measurement, as its nodata value or its own mask tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import open_geotiff, warped

GRID = rasterio.Affine(10, 0, 500_000, 0, -10, 5_300_000)
WINDOW = Window(2, 4, 60, 60)


@pytest.mark.parametrize("kind", ["plain", "nodata", "mask"])
def test_what_was_measured_is_told_by_nodata_or_by_the_files_mask(tmp_path: Path, kind: str) -> None:
    pixels = np.random.default_rng(1).integers(1, 256, (80, 90, 3), dtype=np.uint8)
    pixels[3:9, 5:8] = 0
    pixels[40:50, 5:8, 1] = 0  # black in one band is a colour
    mask = np.full(pixels.shape[:2], 255, np.uint8)
    mask[20:30, 40:50] = 0
    size: dict[str, Any] = {"height": 80, "width": 90, "count": 3, "dtype": "uint8", "crs": "EPSG:32633", "transform": GRID}
    path = tmp_path / "a.tif"
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", driver="GTiff", nodata=0 if kind == "nodata" else None, **size) as dataset,
    ):
        dataset.write(np.moveaxis(pixels, 2, 0))
        if kind == "mask":
            dataset.write_mask(mask)
    expected = np.ones((80, 90), np.bool_)
    if kind == "nodata":
        expected[3:9, 5:8] = False
    if kind == "mask":
        expected = mask == 255
    with open_geotiff(path) as raster:
        read_HWC, measured_HW = raster.read_measured(WINDOW)
        np.testing.assert_array_equal(read_HWC, pixels[WINDOW.slices])
        np.testing.assert_array_equal(measured_HW, expected[WINDOW.slices])
    # The same pixels through a warp that begins 3 pixels further west and north.
    wider = GRID @ rasterio.Affine.translation(-3, -3)
    with warped(path, "EPSG:32633", tuple(wider)[:6], 90, 100) as raster:  # type: ignore[arg-type]
        read_HWC, measured_HW = raster.read_measured(Window(0, 0, 90, 100))
    outside = np.zeros((90, 100), np.bool_)
    outside[3:83, 3:93] = expected
    np.testing.assert_array_equal(measured_HW, outside)
    np.testing.assert_array_equal(read_HWC[3:83, 3:93][expected], pixels[expected])
    assert not read_HWC[~outside].any()
