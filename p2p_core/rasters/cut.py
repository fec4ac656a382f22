"""Cut sources to measure: a world image becomes a GeoTIFF, a region becomes a scene or Web Mercator tiles.

Everything here is atomic (a scene appears whole, a tree grows by whole tiles) and repeatable: the same call writes the
same bytes. How pixels are resampled: see `p2p_core/rasters/geotiff.py`.
"""

from __future__ import annotations

from pathlib import Path

from p2p_core.errors import ConfigError
from p2p_core.geometry import Window
from p2p_core.rasters.geotiff import open_geotiff, reproject_bounds, warped
from p2p_core.rasters.geotiff_writer import write_geotiff
from p2p_core.rasters.grid import Bounds, Grid, transform_of_bounds
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.mercator import TILE_PX, TileAddress, tile_range_grid, tiles_covering
from p2p_core.rasters.protocol import grid_of
from p2p_core.rasters.xyz import write_xyz_tile

__all__ = ["cut_scene", "cut_xyz", "georeference_image"]

_DEGREES = "EPSG:4326"


def georeference_image(image: Path, dest: Path, crs: str, bounds: Bounds) -> None:
    """Write an image that fills `bounds` (units of `crs`), north up, as a tiled GeoTIFF.

    Raises:
        RasterError: the image cannot be read.
        ConfigError: the bounds are empty.
        OutputError: `dest` cannot be written.
    """
    _require_area(bounds)
    with ImageRaster(image) as raster:
        transform = transform_of_bounds(bounds, raster.height_px, raster.width_px)
        write_geotiff(dest, raster, grid=Grid(crs, transform, raster.height_px, raster.width_px))


def cut_scene(source: Path, dest: Path, bounds: Bounds, *, like: Path | None = None, pixel_size: float | None = None) -> Grid:
    """Write the part of a GeoTIFF inside `bounds` as a GeoTIFF, resampled to another grid if asked. Returns its grid.

    Args:
        bounds: in the units of the result's CRS. Only whole pixels inside them are taken.
        like: the result's pixels are those of this raster's grid, so that both lie on each other.
        pixel_size: the result's pixels are squares of this size in the source's CRS, from the bounds' north-west corner.
            With neither, the source's own pixels are copied.

    Raises:
        ConfigError: both grids asked for, or bounds that are empty or reach outside the source.
        RasterError: a file cannot be read, or lies nowhere.
        OutputError: `dest` cannot be written.
    """
    _require_area(bounds)
    with open_geotiff(source) as raster:
        own = grid_of(raster)
    grid = _scene_grid(own, bounds, like, pixel_size)
    _require_cover(source, own, grid.bounds, grid.crs)
    with warped(source, grid.crs, grid.transform, grid.height_px, grid.width_px) as scene:
        write_geotiff(dest, scene)
    return grid


def cut_xyz(source: Path, dest: Path, zoom: int, bounds_deg: Bounds) -> list[TileAddress]:
    """Write the Web Mercator tiles (256 px, PNG) that hold `bounds_deg`, from a georeferenced file. Returns them, row by row.

    Tiles are whole: where they reach beyond the source they hold its nodata value, or 0. Other tiles already in `dest` stay.

    Raises:
        ConfigError: bounds that Web Mercator does not have, or that reach outside the source.
        RasterError: the source cannot be read, lies nowhere, or has pixels that PNG tiles do not hold.
        OutputError: `dest` cannot be written.
    """
    tiles = tiles_covering(bounds_deg, zoom)
    with open_geotiff(source) as raster:
        _require_cover(source, grid_of(raster), bounds_deg, _DEGREES)
    columns = range(tiles[0].x, tiles[-1].x + 1)
    rows = range(tiles[0].y, tiles[-1].y + 1)
    grid = tile_range_grid(zoom, columns, rows)
    with warped(source, grid.crs, grid.transform, grid.height_px, grid.width_px) as mosaic:
        for tile in tiles:
            y_px, x_px = (tile.y - rows.start) * TILE_PX, (tile.x - columns.start) * TILE_PX
            write_xyz_tile(dest, tile, mosaic.read(Window(y_px, x_px, TILE_PX, TILE_PX)))
    return tiles


def _scene_grid(own: Grid, bounds: Bounds, like: Path | None, pixel_size: float | None) -> Grid:
    if like is not None and pixel_size is not None:
        raise ConfigError("A scene takes its grid from `like` or from `pixel_size`", remedy="Give only one of them")
    if pixel_size is not None:
        return Grid.of_pixel_size(own.crs, bounds, pixel_size)
    if like is None:
        return own.inside(bounds)
    with open_geotiff(like) as raster:
        return grid_of(raster).inside(bounds)


def _require_area(bounds: Bounds) -> None:
    west, south, east, north = bounds
    if not (west < east and south < north):
        raise ConfigError(
            f"Bounds {tuple(bounds)} hold nothing", remedy="Give west, south, east, north with west < east and south < north"
        )


def _require_cover(source: Path, own: Grid, bounds: Bounds, crs: str) -> None:
    """A region that the source does not hold would be black."""
    wanted = reproject_bounds(Bounds(*bounds), crs, own.crs)
    pixel = max(abs(value) for value in (own.transform[0], own.transform[1], own.transform[3], own.transform[4]))
    if not own.bounds.contains(wanted, margin=pixel):
        raise ConfigError(
            f"{tuple(bounds)} reaches outside {source}, which ends at {tuple(own.bounds)} ({own.crs})",
            remedy="Choose bounds inside it",
        )
