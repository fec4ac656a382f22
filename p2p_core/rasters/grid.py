"""Where pixels lie on the Earth: affine transforms, bounds, and grids to cut or resample to. Pure arithmetic.

A transform is the six numbers (a, b, c, d, e, f) of rasterio's `Affine`: x = a * column + b * row + c and
y = d * column + e * row + f, at the corners of pixels. Bounds are in the units of their CRS; nothing here crosses the
antimeridian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from p2p_core.errors import ConfigError, RasterError
from p2p_core.geometry import Window

__all__ = ["SLIVER_PX", "Bounds", "Grid", "Transform", "transform_of_bounds", "window_bounds", "window_transform"]

Transform = tuple[float, float, float, float, float, float]

SLIVER_PX = 1e-3
"""Overlaps thinner than this are rounding of written coordinates, not a wish for one more row of pixels."""


class Bounds(NamedTuple):
    west: float
    south: float
    east: float
    north: float

    def contains(self, other: Bounds, *, margin: float = 0.0) -> bool:
        return (
            self.west - margin <= other.west
            and self.south - margin <= other.south
            and other.east <= self.east + margin
            and other.north <= self.north + margin
        )

    def overlaps(self, other: Bounds) -> bool:
        return self.west < other.east and other.west < self.east and self.south < other.north and other.south < self.north


@dataclass(frozen=True)
class Grid:
    """Pixels of a size at a place: what the result of a cut or a resampling has to fit."""

    crs: str
    transform: Transform
    height_px: int
    width_px: int

    def __post_init__(self) -> None:
        if min(self.height_px, self.width_px) < 1:
            raise ValueError(f"A grid has at least one pixel: {self}")

    @property
    def bounds(self) -> Bounds:
        return window_bounds(self.transform, Window(0, 0, self.height_px, self.width_px))

    def part(self, window: Window) -> Grid:
        """The pixels of `window`, which may reach outside."""
        return Grid(self.crs, window_transform(self.transform, window), window.height_px, window.width_px)

    def inside(self, bounds: Bounds) -> Grid:
        """The whole pixels that lie inside `bounds` (and inside the grid): never more than was asked for.

        Raises:
            ConfigError: no whole pixel lies inside.
            RasterError: the grid is rotated.
        """
        return self.part(self.window_inside(bounds))

    def around(self, bounds: Bounds) -> Window:
        """The smallest window that holds `bounds`, on rotated grids too; it may reach outside the grid."""
        a, b, c, d, e, f = self.transform
        determinant = a * e - b * d
        corners = [(x - c, y - f) for x in (bounds.west, bounds.east) for y in (bounds.south, bounds.north)]
        xs = [(e * x - b * y) / determinant for x, y in corners]
        ys = [(a * y - d * x) / determinant for x, y in corners]
        x0, x1 = math.floor(min(xs) + SLIVER_PX), math.ceil(max(xs) - SLIVER_PX)
        y0, y1 = math.floor(min(ys) + SLIVER_PX), math.ceil(max(ys) - SLIVER_PX)
        return Window(y0, x0, y1 - y0, x1 - x0)

    def window_inside(self, bounds: Bounds) -> Window:
        """The whole pixels inside `bounds`. Raises as `inside`."""
        a, b, c, d, e, f = self.transform
        if b or d or a <= 0 or e >= 0:
            raise RasterError(f"Grid {self.transform} is not north up", remedy="Warp the raster to a north-up grid first")
        x0 = max(math.ceil((bounds.west - c) / a - SLIVER_PX), 0)
        x1 = min(math.floor((bounds.east - c) / a + SLIVER_PX), self.width_px)
        y0 = max(math.ceil((bounds.north - f) / e - SLIVER_PX), 0)
        y1 = min(math.floor((bounds.south - f) / e + SLIVER_PX), self.height_px)
        if x1 <= x0 or y1 <= y0:
            raise ConfigError(
                f"No whole pixel lies inside the bounds {tuple(bounds)}",
                remedy=f"Choose bounds (west, south, east, north) that overlap {tuple(self.bounds)}",
            )
        return Window(y0, x0, y1 - y0, x1 - x0)

    @classmethod
    def of_pixel_size(cls, crs: str, bounds: Bounds, pixel_size: float) -> Grid:
        """Square pixels from the north-west corner; the far edges move by at most half a pixel to a whole number of them.

        Raises:
            ConfigError: the size is not positive, or the bounds hold no pixel.
        """
        height, width = bounds.north - bounds.south, bounds.east - bounds.west
        if not (pixel_size > 0 and round(height / pixel_size) >= 1 and round(width / pixel_size) >= 1):
            raise ConfigError(
                f"Bounds {tuple(bounds)} hold no pixel of size {pixel_size}",
                remedy="Give bounds as west, south, east, north and a pixel size in the same units",
            )
        transform = (pixel_size, 0.0, bounds.west, 0.0, -pixel_size, bounds.north)
        return cls(crs, transform, round(height / pixel_size), round(width / pixel_size))


def transform_of_bounds(bounds: Bounds, height_px: int, width_px: int) -> Transform:
    """North up: the image of this size fills the bounds exactly."""
    a, e = (bounds.east - bounds.west) / width_px, (bounds.south - bounds.north) / height_px
    return (a, 0.0, bounds.west, 0.0, e, bounds.north)


def window_transform(transform: Transform, window: Window) -> Transform:
    """The transform of a raster cut out at `window`."""
    a, b, c, d, e, f = transform
    x, y = window.x_px, window.y_px
    return (a, b, a * x + b * y + c, d, e, d * x + e * y + f)


def window_bounds(transform: Transform, window: Window) -> Bounds:
    """The smallest bounds around the window's four corners."""
    a, b, c, d, e, f = transform
    corners = [(x, y) for x in (window.x_px, window.x_end_px) for y in (window.y_px, window.y_end_px)]
    xs = [a * x + b * y + c for x, y in corners]
    ys = [d * x + e * y + f for x, y in corners]
    return Bounds(min(xs), min(ys), max(xs), max(ys))
