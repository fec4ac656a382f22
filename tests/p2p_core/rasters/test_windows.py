"""Whatever the format, a window is a slice of the whole, and nothing lies outside."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import warped
from p2p_core.rasters.mercator import TileAddress, tile_range_grid
from p2p_core.rasters.protocol import Raster, full_window
from p2p_core.rasters.registry import open_raster
from p2p_core.rasters.xyz import write_xyz_tile

HEIGHT_PX, WIDTH_PX = 600, 700
FORMATS = ["png", "jpg", "webp", "tif", "xyz", "zarr", "warped 2.0", "warped 1.5", "warped mercator"]


def open_warped(path: Path, kind: str) -> Raster:
    if kind == "mercator":
        grid = tile_range_grid(5, range(16, 18), range(13, 15), 300)
        return warped(path, grid.crs, grid.transform, grid.height_px, grid.width_px)
    size = 0.05 * float(kind)
    return warped(path, "EPSG:4326", (size, 0, 0.0, 0, -size, 30.0), 250, 300)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory, noise: Callable[..., NDArray[Any]], write_tif: Callable[..., Path]) -> Any:
    root = tmp_path_factory.mktemp("rasters")
    pixels = noise(HEIGHT_PX, WIDTH_PX, 3)
    for suffix in ("png", "jpg", "webp"):
        Image.fromarray(pixels).save(root / f"image.{suffix}")
    tiles = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    tif = write_tif(root / "image.tif", pixels, (0.05, 0, 0.0, 0, -0.05, 30.0), **tiles)
    for y in range(3):
        for x in range(4):
            if (x, y) != (1, 1):
                write_xyz_tile(root / "image.xyz", TileAddress(4, x, y), pixels[y * 64 : y * 64 + 64, x * 64 : x * 64 + 64])
    array = zarr.create_array(root / "image.zarr", shape=pixels.shape, dtype="u1", chunks=(64, 64, 3), shards=(128, 128, 3))
    array[:] = pixels
    with ExitStack() as stack:
        rasters = {}
        for kind in FORMATS:
            raster = open_warped(tif, kind.split()[1]) if " " in kind else open_raster(root / f"image.{kind}")
            stack.enter_context(raster)
            rasters[kind] = (raster, raster.read(full_window(raster)))
        yield rasters


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_any_window_is_a_slice_of_the_whole(opened: Any, kind: str, data: st.DataObject) -> None:
    raster, whole = opened[kind]
    y, y_end = sorted(data.draw(st.tuples(*[st.integers(0, raster.height_px)] * 2)))
    x, x_end = sorted(data.draw(st.tuples(*[st.integers(0, raster.width_px)] * 2)))
    window = Window(y, x, y_end - y, x_end - x)
    pixels = raster.read(window)
    assert pixels.dtype == raster.dtype == whole.dtype
    np.testing.assert_array_equal(pixels, whole[window.slices])


@pytest.mark.parametrize("kind", FORMATS)
def test_the_whole_has_the_size_and_bands_announced(opened: Any, kind: str) -> None:
    raster, whole = opened[kind]
    assert whole.shape == (raster.height_px, raster.width_px, raster.bands)
    assert len(np.unique(whole)) > 50  # noise came through, not a fill value


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("reach", [(-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)])
def test_a_window_that_reaches_outside_is_an_error(opened: Any, kind: str, reach: tuple[int, int, int, int]) -> None:
    raster, _ = opened[kind]
    y, x, height, width = reach
    window = Window(y, x, raster.height_px + height, raster.width_px + width)
    with pytest.raises(ValueError, match="does not lie inside"):
        raster.read(window)


@pytest.mark.parametrize("kind", FORMATS)
def test_pixels_belong_to_the_caller(opened: Any, kind: str) -> None:
    raster, whole = opened[kind]
    pixels = raster.read(Window(0, 0, 5, 5))
    pixels[:] = 0
    np.testing.assert_array_equal(raster.read(Window(0, 0, 5, 5)), whole[:5, :5])
