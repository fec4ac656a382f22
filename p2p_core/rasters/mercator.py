"""Web Mercator tiles (EPSG:3857, z/x/y, y growing southwards from the north): pure arithmetic.

At zoom z the square |x|, |y| <= pi * 6378137 m is cut into 2**z by 2**z tiles; latitudes end at 85.0511 degrees.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from p2p_core.errors import ConfigError
from p2p_core.rasters.grid import SLIVER_PX, Bounds, Grid

__all__ = [
    "MAX_LATITUDE_DEG",
    "MAX_ZOOM",
    "TILE_PX",
    "WEB_MERCATOR",
    "TileAddress",
    "tile_address",
    "tile_bounds_deg",
    "tile_bounds_m",
    "tile_range_grid",
    "tiles_covering",
]

WEB_MERCATOR = "EPSG:3857"
TILE_PX = 256
MAX_ZOOM = 30

_HALF_M = math.pi * 6378137.0
MAX_LATITUDE_DEG = math.degrees(math.atan(math.sinh(math.pi)))


class TileAddress(NamedTuple):
    z: int
    x: int
    y: int

    def __str__(self) -> str:
        return f"{self.z}/{self.x}/{self.y}"


def tile_address(longitude_deg: float, latitude_deg: float, zoom: int) -> TileAddress:
    """The tile that holds a point. On an edge, the tile to the east and south."""
    x, y = _tile_coordinates(longitude_deg, latitude_deg, zoom)
    last = 2**zoom - 1
    return TileAddress(zoom, min(math.floor(x), last), min(math.floor(y), last))


def tile_bounds_m(tile: TileAddress) -> Bounds:
    """In EPSG:3857 metres. Neighbours share their edge exactly."""
    tile_m = 2 * _HALF_M / 2**tile.z
    north, west = _HALF_M - tile.y * tile_m, tile.x * tile_m - _HALF_M
    return Bounds(west, _HALF_M - (tile.y + 1) * tile_m, (tile.x + 1) * tile_m - _HALF_M, north)


def tile_bounds_deg(tile: TileAddress) -> Bounds:
    """In EPSG:4326 degrees."""
    tiles = 2**tile.z
    south, north = (math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * y / tiles)))) for y in (tile.y + 1, tile.y))
    return Bounds(tile.x / tiles * 360 - 180, south, (tile.x + 1) / tiles * 360 - 180, north)


def tiles_covering(bounds_deg: Bounds, zoom: int) -> list[TileAddress]:
    """The tiles that hold any of the bounds (EPSG:4326 degrees), row by row from the north-west.

    An overlap of less than `SLIVER_PX` of a 256 px tile's pixel counts as rounding: bounds written with enough decimals
    give exactly the tiles they were computed from.

    Raises:
        ConfigError: a zoom outside 0..30, or bounds that are empty, beyond Mercator's latitudes or over the antimeridian.
    """
    west, south, east, north = bounds_deg
    if not 0 <= zoom <= MAX_ZOOM:
        raise ConfigError(f"Zoom {zoom} does not exist", remedy=f"Choose a zoom from 0 to {MAX_ZOOM}")
    limit = MAX_LATITUDE_DEG + 1e-6
    if not (-180 <= west < east <= 180 and -limit <= south < north <= limit):
        raise ConfigError(
            f"Bounds {tuple(bounds_deg)} cannot be cut into Web Mercator tiles",
            remedy="Give west, south, east, north in degrees, west < east and south < north, latitudes within 85.0511",
        )
    sliver = SLIVER_PX / TILE_PX
    x0, y0 = _tile_coordinates(west, north, zoom)
    x1, y1 = _tile_coordinates(east, south, zoom)
    columns = range(math.floor(x0 + sliver), max(math.ceil(x1 - sliver), math.floor(x0 + sliver) + 1))
    rows = range(math.floor(y0 + sliver), max(math.ceil(y1 - sliver), math.floor(y0 + sliver) + 1))
    return [TileAddress(zoom, x, y) for y in rows for x in columns]


def tile_range_grid(zoom: int, columns: range, rows: range, tile_px: int = TILE_PX) -> Grid:
    """The grid of a block of tiles seen as one raster in EPSG:3857."""
    pixel_m = 2 * _HALF_M / 2**zoom / tile_px
    west, _, _, north = tile_bounds_m(TileAddress(zoom, columns.start, rows.start))
    transform = (pixel_m, 0.0, west, 0.0, -pixel_m, north)
    return Grid(WEB_MERCATOR, transform, len(rows) * tile_px, len(columns) * tile_px)


def _tile_coordinates(longitude_deg: float, latitude_deg: float, zoom: int) -> tuple[float, float]:
    """Fractional tile x and y; latitudes beyond the map lie on its edge."""
    tiles = 2**zoom
    latitude_rad = math.radians(min(max(latitude_deg, -MAX_LATITUDE_DEG), MAX_LATITUDE_DEG))
    y = (1 - math.asinh(math.tan(latitude_rad)) / math.pi) / 2 * tiles
    return (longitude_deg + 180) / 360 * tiles, min(max(y, 0.0), float(tiles))
