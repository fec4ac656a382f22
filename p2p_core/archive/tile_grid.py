"""Which Web Mercator tiles a raster is made of, if it is: pure arithmetic."""

from __future__ import annotations

import math
from dataclasses import dataclass

from p2p_core.errors import RasterError
from p2p_core.geometry import TileGrid, Window
from p2p_core.rasters.grid import SLIVER_PX, Transform
from p2p_core.rasters.mercator import MAX_ZOOM, TILE_PX, WEB_MERCATOR, TileAddress, tile_bounds_m, tile_range_grid

__all__ = ["TileBlock", "locate_tiles"]

_WORLD = tile_bounds_m(TileAddress(0, 0, 0))


@dataclass(frozen=True)
class TileBlock:
    """A raster that is a rectangle of whole 256 px tiles: its zoom and the tiles' columns and rows."""

    zoom: int
    columns: range
    rows: range

    def tiles(self) -> list[tuple[TileAddress, Window]]:
        """Every tile with its pixels in the raster, row by row."""
        windows = TileGrid(len(self.rows) * TILE_PX, len(self.columns) * TILE_PX, TILE_PX, TILE_PX)
        addresses = [TileAddress(self.zoom, x, y) for y in self.rows for x in self.columns]
        return list(zip(addresses, windows, strict=True))


def locate_tiles(crs: str | None, transform: Transform | None, height_px: int, width_px: int, *, name: str) -> TileBlock:
    """The tiles that a raster consists of.

    Raises:
        RasterError: it is not in EPSG:3857, or its pixels are not those of whole tiles; `name` is what the error names.
    """
    if crs != WEB_MERCATOR or transform is None:
        raise _off_grid(name, f"its CRS is {crs or 'unknown'}, not {WEB_MERCATOR}")
    pixel_m = transform[0]
    zoom = round(math.log2((_WORLD.east - _WORLD.west) / TILE_PX / pixel_m)) if pixel_m > 0 else -1
    if not 0 <= zoom <= MAX_ZOOM:
        raise _off_grid(name, f"its pixels of {pixel_m} m are those of no zoom")
    tile_m = (_WORLD.east - _WORLD.west) / 2**zoom
    x, y = round((transform[2] - _WORLD.west) / tile_m), round((_WORLD.north - transform[5]) / tile_m)
    num_columns, num_rows = width_px // TILE_PX, height_px // TILE_PX
    grid = tile_range_grid(zoom, range(x, x + num_columns), range(y, y + num_rows))
    if (width_px % TILE_PX, height_px % TILE_PX) != (0, 0):
        raise _off_grid(name, f"its {width_px} x {height_px} px are not whole tiles of {TILE_PX} px")
    # A pixel size that is off by little still moves the far edge: compare there, too.
    tolerance_m = SLIVER_PX * pixel_m
    size_px = max(height_px, width_px)
    limits = (tolerance_m / size_px, tolerance_m / size_px, tolerance_m) * 2
    if any(abs(own - ideal) > limit for own, ideal, limit in zip(transform, grid.transform, limits, strict=True)):
        raise _off_grid(name, f"its pixels do not lie on those of the tiles of zoom {zoom}")
    return TileBlock(zoom, range(x, x + num_columns), range(y, y + num_rows))


def _off_grid(name: str, problem: str) -> RasterError:
    return RasterError(
        f"{name} cannot be exported as XYZ tiles: {problem}",
        remedy="Export it as COG, or translate an XYZ tree or a scene warped to the tile grid (gdalwarp -t_srs EPSG:3857)",
        reason="misfit",
    )
