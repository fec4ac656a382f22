"""What every raster offers, whatever its format: a size, a place on the Earth, and pixels by window."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.grid import Bounds, Grid, Transform, window_bounds

__all__ = ["Raster", "bounds", "full_window", "grid_of", "measured_pixels", "require_inside"]


class Raster(Protocol):
    """An image that is read window by window. A context manager; use one reader a thread.

    Attributes:
        name: how messages call it: a path.
        crs: "EPSG:4326" where an authority knows it, else WKT, None where the raster lies nowhere.
        transform: pixel corners -> CRS coordinates, in the order of `grid.Transform`.
        nodata: the value that means "no measurement".
    """

    name: str
    height_px: int
    width_px: int
    bands: int
    dtype: np.dtype[Any]
    crs: str | None
    transform: Transform | None
    nodata: float | None

    def read(self, window: Window) -> NDArray[Any]:
        """The window's pixels as a new (height, width, bands) array.

        Raises:
            ValueError: the window does not lie inside the raster.
            RasterError: the pixels there cannot be decoded.
        """
        ...

    def read_measured(self, window: Window) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """As `read`, and (height, width): which pixels hold a measurement (`measured_pixels`). Raises as `read`."""
        pixels = self.read(window)
        return pixels, measured_pixels(pixels, self.nodata, self.dtype)

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def measured_pixels(pixels: NDArray[Any], nodata: float | None, dtype: np.dtype[Any], *, axis: int = -1) -> NDArray[np.bool_]:
    """Which pixels are measured in full: no band, along `axis`, is `nodata`, a number or NaN.

    Of 8-bit pictures those that are not `nodata` in all bands: 0 in one of them is a pure colour.

    Args:
        dtype: the source's; of a warped view pixels have another.
    """
    if nodata is None:
        return np.ones(np.delete(pixels.shape, axis), np.bool_)
    nothing = np.isnan(pixels) if math.isnan(nodata) else pixels == nodata
    measured: NDArray[np.bool_] = ~(nothing.all(axis=axis) if dtype == np.uint8 else nothing.any(axis=axis))
    return measured


def full_window(raster: Raster) -> Window:
    return Window(0, 0, raster.height_px, raster.width_px)


def require_inside(window: Window, raster: Raster) -> None:
    """Raises `ValueError` unless the window lies inside the raster."""
    if not full_window(raster).contains(window):
        raise ValueError(f"{window} does not lie inside {raster.name} ({raster.height_px} x {raster.width_px} px)")


def grid_of(raster: Raster) -> Grid:
    """The raster's own pixels as a grid to cut or resample others to.

    Raises:
        RasterError: the raster has no CRS or transform.
    """
    if raster.crs is None or raster.transform is None:
        raise RasterError(
            f"{raster.name} has no place on the Earth: its CRS or its transform is missing",
            remedy="Give it both, for example with gdal_edit or rio edit-info",
            reason="not-georeferenced",
        )
    return Grid(raster.crs, raster.transform, raster.height_px, raster.width_px)


def bounds(raster: Raster, window: Window | None = None) -> Bounds:
    """(west, south, east, north) of the raster or one of its windows, in its CRS. Raises as `grid_of`."""
    grid = grid_of(raster)
    return grid.bounds if window is None else window_bounds(grid.transform, window)
