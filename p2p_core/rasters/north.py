"""Which way south lies on a grid: what a split by latitude has to know. Legend: x, y are pixels, or CRS coordinates."""

from __future__ import annotations

import math

import rasterio.warp
from rasterio._err import CPLE_BaseError  # GDAL's own errors pass through some calls unwrapped
from rasterio.errors import RasterioError

from p2p_core.errors import ConfigError
from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import parse_crs
from p2p_core.rasters.grid import Grid

__all__ = ["southward"]

_PROBES = (0.1, 0.5, 0.9)
_DEGREES = "EPSG:4326"


def southward(grid: Grid, area: Window) -> tuple[float, float]:
    """How far south one pixel along x and one along y lead, scaled so that their absolute values add up to 1.

    South is where the y axis of the grid's CRS falls: latitude itself in degrees and in Mercator; grid south in UTM and its
    like, which is off by a degree or three. A north-up grid gives (0, 1); a rotated one has a share of both. With this
    scale two pixels whose southings differ by d are at least d pixels apart along x or along y, as `gaps` measures it.

    Raises:
        ConfigError: somewhere in the area north lies more than 45 degrees off the y axis (around a pole, say), or the CRS has
            no place on the Earth.
    """
    _, _, _, d, e, _ = grid.transform
    scale = abs(d) + abs(e)
    if not scale:
        raise ConfigError(f"Grid {grid.transform} has no height", remedy="Write the raster's transform again")
    _require_north_along_y(grid, area, scale)
    return 0.0 - d / scale, 0.0 - e / scale


def _require_north_along_y(grid: Grid, area: Window, step: float) -> None:
    a, b, c, d, e, f = grid.transform
    places = [(area.x_px + u * area.width_px, area.y_px + v * area.height_px) for u in _PROBES for v in _PROBES]
    xs = [a * x + b * y + c for x, y in places]
    ys = [d * x + e * y + f for x, y in places]
    here, north = (_degrees(grid.crs, xs, [y + shift for y in ys]) for shift in (-step / 2, step / 2))
    for (longitude, latitude), (longitude_north, latitude_north) in zip(here, north, strict=True):
        rise = latitude_north - latitude
        drift = ((longitude_north - longitude + 180) % 360 - 180) * math.cos(math.radians(latitude))
        if not rise > abs(drift):
            raise ConfigError(
                f"North does not lie along the y axis of {grid.crs} at {latitude:.2f}, {longitude:.2f} degrees, so that rows of"
                " tiles have no latitude in common",
                remedy="Split by block, or warp the target to a CRS whose y axis points north",
            )


def _degrees(crs: str, xs: list[float], ys: list[float]) -> list[tuple[float, float]]:
    """(longitude, latitude) of each point; not finite where it has none."""
    try:
        longitudes, latitudes = rasterio.warp.transform(parse_crs(crs), parse_crs(_DEGREES), xs, ys)
    except (RasterioError, CPLE_BaseError) as error:
        raise ConfigError(f"{crs} has no latitudes: {error}", remedy="Split by block, or give the target its CRS") from error
    return list(zip(longitudes, latitudes, strict=True))
