"""A z/x/y tree of Web Mercator tiles, read as one mosaic in EPSG:3857 and written tile by tile.

One zoom is one mosaic: the rectangle around all its tiles. Tiles are images of one square size; only those under a
window are opened, and the last few stay decoded. Other files in the tree (a viewer's index.html, say) are ignored.

Missing tiles read as zeros: transparent where the mosaic has alpha, black otherwise; `missing_tiles` lists them.
The first tile (lowest x, then y) decides the mosaic's bands. A gray tile in a colour mosaic is repeated into it, a tile
without alpha is opaque, and an alpha band that the mosaic lacks is dropped where it is opaque; anything else is an error.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import ConfigError, EmptySourceError, RasterError
from p2p_core.files import write_atomic
from p2p_core.geometry import Window
from p2p_core.rasters.images import IMAGE_SUFFIXES, ImageRaster
from p2p_core.rasters.mercator import TileAddress, tile_range_grid
from p2p_core.rasters.png import png_bytes
from p2p_core.rasters.protocol import Raster, full_window, require_inside

__all__ = ["MAX_TILE_PIXELS", "XYZRaster", "chosen_zoom", "tile_path", "tile_paths", "write_xyz_tile", "zooms"]

MAX_TILE_PIXELS = 4096 * 4096
_CACHED_TILES = 64
_COLOUR_BANDS = {1: 1, 2: 1, 3: 3, 4: 3}  # bands -> bands without alpha


def zooms(root: Path) -> list[int]:
    """The zooms a tree holds, ascending: its directories named by a number."""
    return sorted(int(entry.name) for entry in root.iterdir() if entry.name.isdecimal() and entry.is_dir())


class XYZRaster(Raster):
    """One zoom of a tree.

    Args:
        zoom: may be left out where the tree holds only one.

    Raises:
        ConfigError: several zooms and none chosen, or one that is not there.
        EmptySourceError: no tiles.
        RasterError: a tile that is corrupt, of another size, or there twice.
    """

    def __init__(self, root: Path, *, zoom: int | None = None) -> None:
        self.name = str(root)
        self.zoom = chosen_zoom(root, zoom)
        self._paths = tile_paths(root, self.zoom)
        if not self._paths:
            raise EmptySourceError(
                f"{root / str(self.zoom)} holds no tiles", remedy="Expected are images named z/x/y.png, .jpg or .webp"
            )
        self.columns = _span(tile.x for tile in self._paths)
        self.rows = _span(tile.y for tile in self._paths)
        with ImageRaster(self._paths[min(self._paths)], max_pixels=MAX_TILE_PIXELS) as first:
            self.tile_px, self.bands, self.dtype = first.width_px, first.bands, first.dtype
        grid = tile_range_grid(self.zoom, self.columns, self.rows, self.tile_px)
        self.crs, self.transform = grid.crs, grid.transform
        self.height_px, self.width_px = grid.height_px, grid.width_px
        self.nodata = None
        self._decoded: OrderedDict[TileAddress, NDArray[Any]] = OrderedDict()

    @property
    def num_missing_tiles(self) -> int:
        return len(self.columns) * len(self.rows) - len(self._paths)

    def missing_tiles(self) -> Iterator[TileAddress]:
        """The addresses inside the mosaic that have no image, row by row."""
        for y in self.rows:
            for x in self.columns:
                if (tile := TileAddress(self.zoom, x, y)) not in self._paths:
                    yield tile

    def missing_under(self, window: Window) -> list[TileAddress]:
        """The addresses under a window that have no image, row by row."""
        return [tile for tile, _ in self._addresses_under(window) if tile not in self._paths]

    def missing_windows(self, window: Window) -> list[Window]:
        """The parts of a window, in the mosaic's pixels, whose tiles have no image, row by row."""
        missing = [place for tile, place in self._addresses_under(window) if tile not in self._paths]
        y_px, x_px, height_px, width_px = window.y_px, window.x_px, window.height_px, window.width_px
        return [place.shift(-y_px, -x_px).clip(height_px, width_px).shift(y_px, x_px) for place in missing]

    def read(self, window: Window) -> NDArray[Any]:
        require_inside(window, self)
        out = np.zeros((window.height_px, window.width_px, self.bands), self.dtype)
        for tile, place in self._addresses_under(window):
            if tile not in self._paths:
                continue
            part = place.shift(-window.y_px, -window.x_px).clip(window.height_px, window.width_px)
            inner = part.shift(window.y_px - place.y_px, window.x_px - place.x_px)
            out[part.slices] = self._tile(tile)[inner.slices]
        return out

    def close(self) -> None:
        self._decoded.clear()

    def _addresses_under(self, window: Window) -> Iterator[tuple[TileAddress, Window]]:
        if window.height_px == 0 or window.width_px == 0:
            return
        for row in range(window.y_px // self.tile_px, (window.y_end_px - 1) // self.tile_px + 1):
            for column in range(window.x_px // self.tile_px, (window.x_end_px - 1) // self.tile_px + 1):
                tile = TileAddress(self.zoom, self.columns.start + column, self.rows.start + row)
                yield tile, Window(row * self.tile_px, column * self.tile_px, self.tile_px, self.tile_px)

    def _tile(self, tile: TileAddress) -> NDArray[Any]:
        if tile in self._decoded:
            self._decoded.move_to_end(tile)
            return self._decoded[tile]
        pixels = self._decode(self._paths[tile])
        self._decoded[tile] = pixels
        if len(self._decoded) > _CACHED_TILES:
            self._decoded.popitem(last=False)
        return pixels

    def _decode(self, path: Path) -> NDArray[Any]:
        with ImageRaster(path, max_pixels=MAX_TILE_PIXELS) as image:
            if (image.height_px, image.width_px) != (self.tile_px, self.tile_px):
                raise _misfit(path, f"is {image.width_px} x {image.height_px} px, not {self.tile_px} x {self.tile_px}")
            pixels = image.read(full_window(image))
        fitted = _with_bands(pixels, self.bands) if pixels.dtype == self.dtype else None
        if fitted is None:
            raise _misfit(path, f"has {pixels.shape[2]} {pixels.dtype} bands, not {self.bands} of {self.dtype}")
        return fitted


def tile_path(root: Path, tile: TileAddress, suffix: str = ".png") -> Path:
    return root / str(tile.z) / str(tile.x) / f"{tile.y}{suffix}"


def write_xyz_tile(root: Path, tile: TileAddress, pixels_HWC: NDArray[np.uint8]) -> Path:
    """Write one tile as PNG, whole or not at all; the same pixels are the same bytes. Returns its path.

    Args:
        pixels_HWC: uint8 of 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA) bands.

    Raises:
        OutputError: the place is read-only or full.
        RasterError: pixels that PNG tiles do not hold.
    """
    path = tile_path(root, tile)
    write_atomic(path, png_bytes(pixels_HWC, path))
    return path


def chosen_zoom(root: Path, zoom: int | None) -> int:
    """The zoom asked for, or the only one there is. Raises `ConfigError` and `EmptySourceError` as `XYZRaster`."""
    there = zooms(root)
    if not there:
        raise EmptySourceError(f"{root} holds no zoom directories", remedy="Expected is a tree z/x/y.png, .jpg or .webp")
    if zoom is None and len(there) > 1:
        raise ConfigError(f"{root} holds the zooms {', '.join(map(str, there))}", remedy="Choose one of them: zoom=N")
    if zoom is not None and zoom not in there:
        raise ConfigError(f"{root} has no zoom {zoom}", remedy=f"Choose one of: {', '.join(map(str, there))}")
    return there[0] if zoom is None else zoom


def tile_paths(root: Path, zoom: int) -> dict[TileAddress, Path]:
    """Every tile of a zoom that is there. Raises `RasterError` for one off the map, or there twice."""
    paths: dict[TileAddress, Path] = {}
    for column in (root / str(zoom)).iterdir():
        if not (column.name.isdecimal() and column.is_dir()):
            continue
        for path in column.iterdir():
            if path.suffix.lower() not in IMAGE_SUFFIXES or not path.stem.isdecimal():
                continue
            tile = TileAddress(zoom, int(column.name), int(path.stem))
            if max(tile.x, tile.y) >= 2**zoom:
                raise _misfit(path, f"lies outside the map: zoom {zoom} ends at {2**zoom - 1}")
            if tile in paths:
                raise _misfit(path, f"is there a second time as {paths[tile].name}")
            paths[tile] = path
    return paths


def _with_bands(pixels: NDArray[Any], bands: int) -> NDArray[Any] | None:
    """The tile with the mosaic's bands; None where that would lose or invent something."""
    colour = pixels[..., : _COLOUR_BANDS[pixels.shape[2]]]
    opaque = np.iinfo(pixels.dtype).max
    alpha = pixels[..., -1:] if pixels.shape[2] in (2, 4) else np.full_like(pixels[..., :1], opaque)
    if _COLOUR_BANDS[bands] < colour.shape[2] or (bands in (1, 3) and (alpha != opaque).any()):
        return None
    colour = np.repeat(colour, _COLOUR_BANDS[bands] // colour.shape[2], axis=2)
    return colour if bands in (1, 3) else np.concatenate([colour, alpha], axis=2)


def _misfit(path: Path, problem: str) -> RasterError:
    return RasterError(f"Tile {path} {problem}", remedy="Remove it, or make the tree anew", reason="misfit")


def _span(numbers: Iterator[int]) -> range:
    values = set(numbers)
    return range(min(values), max(values) + 1)
