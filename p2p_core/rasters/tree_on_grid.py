"""A tree of map tiles on somebody else's grid: what `geotiff.warped` does for files. Legend: H W pixels, C bands.

It resamples as `geotiff` says: by area where it halves or more, else bilinear, with the filter's width pinned and coordinates
exact, so that a pixel depends on its place and not on the window it is read with. Only tiles under a window are opened. What
was not measured, a missing tile or a pixel that is not opaque, is blended into no pixel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.band_order import bands_last
from p2p_core.rasters.geotiff import choose_resampling, parse_crs, reproject_bounds, source_px_per_grid_px
from p2p_core.rasters.grid import Grid, window_transform
from p2p_core.rasters.protocol import Raster, grid_of, require_inside
from p2p_core.rasters.xyz import XYZRaster

__all__ = ["TreeOnGrid"]

_UNMEASURED = -(2.0**20)
_EXACT_PX = 1e-6
_STEPS = 256.0
"""Sums of the filter are rounded to parts of a grey level first: a half is then a half, wherever its window begins."""


class TreeOnGrid(Raster):
    """`tree` as if it had been made on `grid`; without its alpha. Closes the tree.

    Raises:
        SizeMismatchError: the grid has no place in Web Mercator.
        RasterError: the tree's tiles are not 8-bit.
    """

    def __init__(self, tree: XYZRaster, grid: Grid) -> None:
        if tree.dtype != np.uint8:
            raise RasterError(
                f"{tree.name} has tiles of {tree.dtype}", remedy="Make the tree anew with 8 bits a band", reason="unsupported"
            )
        self._tree, self._grid, self._own = tree, grid, grid_of(tree)
        self._scales = source_px_per_grid_px(self._own, grid)
        self._resampling = Resampling[choose_resampling(*self._scales)]
        self.name, self.dtype, self.nodata = tree.name, tree.dtype, None
        self.bands = 1 if tree.bands <= 2 else 3
        self.crs, self.transform = grid.crs, grid.transform
        self.height_px, self.width_px = grid.height_px, grid.width_px

    def read(self, window: Window) -> NDArray[Any]:
        return self.read_measured(window)[0]

    def read_measured(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        require_inside(window, self)
        around = self._tiles_around(window)
        if around.height_px and around.width_px and window.height_px and window.width_px:
            warped_CHW = self._warped(around, window)
        else:
            warped_CHW = np.full((self.bands, window.height_px, window.width_px), _UNMEASURED, np.float32)
        measured_HW = (warped_CHW != _UNMEASURED).any(axis=0)
        pixels_CHW = np.floor(np.rint(warped_CHW * _STEPS) / _STEPS + 0.5)
        pixels_CHW[:, ~measured_HW] = 0
        return bands_last(pixels_CHW.clip(0, 255).astype(np.uint8)), measured_HW

    def close(self) -> None:
        self._tree.close()

    def _warped(self, around: Window, window: Window) -> NDArray[np.float32]:
        """(C, H, W) of `window`, of the tree's pixels `around` it. In a file in memory: of arrays, places are approximated."""
        values_CHW = self._measured(around)
        place = {"crs": parse_crs(self._own.crs), "transform": rasterio.Affine(*window_transform(self._own.transform, around))}
        size = {"count": self.bands, "height": around.height_px, "width": around.width_px, "dtype": "float32"}
        with MemoryFile() as memory:
            with memory.open(driver="GTiff", nodata=_UNMEASURED, **place, **size) as tiles:
                tiles.write(values_CHW)
            with (
                memory.open() as tiles,
                WarpedVRT(
                    tiles,
                    crs=parse_crs(self._grid.crs),
                    transform=rasterio.Affine(*window_transform(self._grid.transform, window)),
                    height=window.height_px,
                    width=window.width_px,
                    resampling=self._resampling,
                    tolerance=_EXACT_PX,
                    nodata=_UNMEASURED,
                    XSCALE=repr(min(1.0, 1 / self._scales[0])),
                    YSCALE=repr(min(1.0, 1 / self._scales[1])),
                ) as view,
            ):
                warped_CHW: NDArray[np.float32] = view.read()
        return warped_CHW

    def _tiles_around(self, window: Window) -> Window:
        """The whole tiles that hold the window's ground and the filter's margin: sums begin at the same pixels."""
        part = self._grid.part(window)
        there = self._own.around(reproject_bounds(part.bounds, part.crs, self._own.crs))
        near = there.grow(2 * math.ceil(max(1.0, *self._scales)) + 2)
        tile_px = self._tree.tile_px
        y0, x0 = near.y_px // tile_px * tile_px, near.x_px // tile_px * tile_px
        y1, x1 = -(-near.y_end_px // tile_px) * tile_px, -(-near.x_end_px // tile_px) * tile_px
        return Window(y0, x0, y1 - y0, x1 - x0).clip(self._tree.height_px, self._tree.width_px)

    def _measured(self, window: Window) -> NDArray[np.float32]:
        """(C, H, W), without alpha."""
        pixels_HWC = self._tree.read(window)
        values_CHW = np.moveaxis(pixels_HWC[..., : self.bands], 2, 0).astype(np.float32)
        if self._tree.bands in (2, 4):
            values_CHW[:, pixels_HWC[..., -1] != np.iinfo(np.uint8).max] = _UNMEASURED
        for place in self._tree.missing_windows(window):
            values_CHW[:, *place.shift(-window.y_px, -window.x_px).slices] = _UNMEASURED
        return values_CHW
