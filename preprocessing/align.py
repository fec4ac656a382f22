"""Two rasters of the same ground on one grid: the target's. Legend: H W pixels, C bands."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import SizeMismatchError
from p2p_core.geometry import Window, align_down, align_up
from p2p_core.rasters.geotiff import DatasetRaster, reproject_bounds, warped
from p2p_core.rasters.grid import SLIVER_PX, Bounds, window_transform
from p2p_core.rasters.protocol import Raster, bounds, grid_of, require_inside
from p2p_core.rasters.registry import open_raster
from p2p_core.rasters.tree_on_grid import TreeOnGrid
from p2p_core.rasters.vector import open_vector
from p2p_core.rasters.vector_file import is_vector
from p2p_core.rasters.xyz import XYZRaster

__all__ = ["ScaledRaster", "open_aligned", "resize", "resize_nearest"]

_CELL_PX = 64
_FILTER_PX = 2  # cv2's cubic filter reaches two source pixels to each side


def open_aligned(input_path: Path, target: Raster, area: Window, *, zoom: int | None = None) -> Raster:
    """Open the input so that its pixels lie on the target's: as it is, scaled, or resampled by place.

    An input in the target's CRS must cover `area` of the target; one in another CRS is resampled, and where it does not reach
    nothing is measured (`Raster.read_measured`). Plain images must have the same shape up to one scale. What is resampled by
    place can be read inside `area` alone. Of an XYZ tree missing tiles are nothing measured, too. A vector map is drawn on the
    target's grid.

    Args:
        zoom: of an input that is an XYZ tree of several.

    Raises:
        SizeMismatchError: they do not cover the same ground. Names both.
        RasterError: the input cannot be read.
        ConfigError: a map style that is none; an XYZ tree of several zooms and none chosen.
    """
    if is_vector(input_path):
        return open_vector(input_path, target)
    source = open_raster(input_path, zoom=zoom)
    try:
        if source.crs is None or target.crs is None or target.transform is None:
            _require_same_shape(source, target)
            return _scaled(source, target)
        _require_same_ground(source, target, area)
        if isinstance(source, XYZRaster):
            return TreeOnGrid(source, grid_of(target))
        if not _has_holes(source) and _share_corners(source, target):
            # Scaling is faster than warping, and exact: GDAL rounds the mean of 2 x 2 now up, now down.
            return _scaled(source, target)
    except BaseException:
        source.close()
        raise
    source.close()
    # Onto the area alone: the rest of a target that goes round the globe may have no place in the input's CRS.
    place = window_transform(target.transform, area)
    return PartRaster(warped(input_path, target.crs, place, area.height_px, area.width_px), area, target)


def _scaled(source: Raster, target: Raster) -> Raster:
    same = (source.height_px, source.width_px) == (target.height_px, target.width_px)
    return source if same else ScaledRaster(source, target.height_px, target.width_px)


def _has_holes(source: Raster) -> bool:
    """Only warping keeps pixels that were not measured out of their neighbours."""
    return source.nodata is not None or (isinstance(source, DatasetRaster) and source.has_mask)


def _share_corners(source: Raster, target: Raster) -> bool:
    """North up, one shape, and the same bounds to a thousandth of a target pixel."""
    if not all(raster.transform and not raster.transform[1] and not raster.transform[3] for raster in (source, target)):
        return False
    own, wanted = bounds(source), bounds(target)
    margin = SLIVER_PX * (wanted.east - wanted.west) / target.width_px
    same = own.contains(wanted, margin=margin) and wanted.contains(own, margin=margin)
    return same and source.height_px * target.width_px == source.width_px * target.height_px


def _require_same_shape(source: Raster, target: Raster) -> None:
    if (source.crs is None) != (target.crs is None):
        placed, plain = (target, source) if source.crs is None else (source, target)
        raise SizeMismatchError(
            f"{placed.name} has a place on the Earth ({placed.crs}), {plain.name} has none",
            remedy="Georeference both (for example with gdal_translate -a_srs ... -a_ullr ...) or neither",
        )
    if source.height_px * target.width_px != source.width_px * target.height_px:
        raise SizeMismatchError(
            f"{source.name} has {source.width_px}x{source.height_px} px and {target.name} {target.width_px}x{target.height_px}"
            " px: one is not the other at another scale",
            remedy="Crop both to the same ground, or georeference both",
        )


def _require_same_ground(source: Raster, target: Raster, area: Window) -> None:
    own, wanted = bounds(source), bounds(target, area)
    if source.crs is not None and target.crs is not None and source.crs != target.crs:
        # No rectangle of the target is what both cover: what the source does not cover is nodata, tile by tile.
        there = reproject_bounds(wanted, target.crs, source.crs)
        if not own.overlaps(there):
            raise SizeMismatchError(
                f"{source.name} covers {tuple(own)} of {source.crs}, and {target.name} lies at {tuple(there)} of it",
                remedy="Check their georeferencing: they share no ground",
            )
        return
    pixel = (wanted.east - wanted.west) / area.width_px
    if not own.contains(wanted, margin=pixel / 2):
        common = Bounds(
            max(own.west, wanted.west), max(own.south, wanted.south), min(own.east, wanted.east), min(own.north, wanted.north)
        )
        raise SizeMismatchError(
            f"{source.name} ({source.width_px}x{source.height_px} px) covers {tuple(own)}, which is not all of "
            f"{tuple(wanted)} of {target.name} ({target.width_px}x{target.height_px} px)",
            remedy=f"Set bounds to what both cover: {list(common)}"
            if own.overlaps(wanted)
            else "Check their georeferencing: they share no ground",
        )


class PartRaster(Raster):
    """The pixels that a target has in `area`, read by the target's windows, which must lie inside it."""

    def __init__(self, part: Raster, area: Window, target: Raster) -> None:
        self._part, self._area = part, area
        self.name, self.bands, self.dtype, self.nodata = part.name, part.bands, part.dtype, part.nodata
        self.crs, self.transform = target.crs, target.transform
        self.height_px, self.width_px = target.height_px, target.width_px

    def read(self, window: Window) -> NDArray[Any]:
        return self.read_measured(window)[0]

    def read_measured(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        return self._part.read_measured(window.shift(-self._area.y_px, -self._area.x_px))

    def close(self) -> None:
        self._part.close()


class ScaledRaster(Raster):
    """A raster at another scale of the same shape. A pixel depends on its place alone, not on the window it is read with."""

    def __init__(self, source: Raster, height_px: int, width_px: int) -> None:
        self._source = source
        self._scale = Fraction(source.height_px, height_px)
        self.name, self.bands, self.dtype, self.nodata = source.name, source.bands, source.dtype, source.nodata
        self.crs, self.transform = None, None
        self.height_px, self.width_px = height_px, width_px

    def read(self, window: Window) -> NDArray[Any]:
        require_inside(window, self)
        if self._scale >= 1:
            return self._resized(window)
        # cv2 rounds the weights of its cubic filter, by where a pixel lies in the array: each is always made in the same cell.
        cell_px = align_up(_CELL_PX, self._scale.denominator)
        out_HWC = np.empty((window.height_px, window.width_px, self.bands), self.dtype)
        for y_px in range(align_down(window.y_px, cell_px), window.y_end_px, cell_px):
            for x_px in range(align_down(window.x_px, cell_px), window.x_end_px, cell_px):
                cell = Window(y_px, x_px, cell_px, cell_px).clip(self.height_px, self.width_px)
                part = cell.shift(-window.y_px, -window.x_px).clip(window.height_px, window.width_px)
                inner = part.shift(window.y_px - cell.y_px, window.x_px - cell.x_px)
                out_HWC[part.slices] = self._resized(cell)[inner.slices]
        return out_HWC

    def _resized(self, window: Window) -> NDArray[Any]:
        # Multiples of the denominator are whole pixels of the source; a margin feeds the filter.
        step_px = self._scale.denominator
        margin_px = step_px * (_FILTER_PX if self._scale < 1 else 0)
        near = window.grow(margin_px)
        y0, x0 = align_down(near.y_px, step_px), align_down(near.x_px, step_px)
        y1, x1 = align_up(near.y_end_px, step_px), align_up(near.x_end_px, step_px)
        around = Window(y0, x0, y1 - y0, x1 - x0).clip(self.height_px, self.width_px)
        pixels_HWC = self._source.read(Window(*(int(edge * self._scale) for edge in _edges(around))))
        inner = window.shift(-around.y_px, -around.x_px)
        return np.ascontiguousarray(resize(pixels_HWC, around.height_px, around.width_px)[inner.slices])

    def close(self) -> None:
        self._source.close()


def _edges(window: Window) -> tuple[int, int, int, int]:
    return window.y_px, window.x_px, window.height_px, window.width_px


def resize(pixels_HWC: NDArray[Any], height_px: int, width_px: int) -> NDArray[Any]:
    """By area where it shrinks, cubic where it grows; a picture of this size already is returned as it is."""
    if pixels_HWC.shape[:2] == (height_px, width_px):
        return pixels_HWC
    shrinks = height_px * width_px < pixels_HWC.shape[0] * pixels_HWC.shape[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    # OpenCV shrinks no more than four bands at once.
    groups = [pixels_HWC[..., first : first + 4] for first in range(0, pixels_HWC.shape[-1], 4)]
    resized = [cv2.resize(group_HWC, (width_px, height_px), interpolation=interpolation) for group_HWC in groups]
    return np.concatenate([group_HWC.reshape(height_px, width_px, -1) for group_HWC in resized], axis=-1)


def resize_nearest(pixels_HWC: NDArray[Any], height_px: int, width_px: int) -> NDArray[Any]:
    """Each pixel takes the value of the nearest, centre on centre: for labels, between which there is nothing."""
    resized: NDArray[Any] = cv2.resize(pixels_HWC, (width_px, height_px), interpolation=cv2.INTER_NEAREST_EXACT)
    return resized.reshape(height_px, width_px, -1)
