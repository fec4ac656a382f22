"""A map drawn from GeoJSON or TopoJSON files, read window by window like any other raster, on another raster's grid.

A pixel is the mean of `_SAMPLES` x `_SAMPLES` points in it; a point has the colour of the topmost layer that covers it. It
depends on its place alone, never on the window it is read with: everything is drawn in cells that lie fast on the grid.

Legend: H W pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import rasterio.features
import shapely
from numpy.typing import NDArray

from p2p_core.errors import ConfigError, SizeMismatchError
from p2p_core.geometry import Window, align_down
from p2p_core.rasters.grid import Bounds, Grid, Transform
from p2p_core.rasters.protocol import Raster, grid_of, require_inside
from p2p_core.rasters.vector_file import VectorFile, read_vector_file
from p2p_core.rasters.vector_place import Placer, polygonal
from p2p_core.rasters.vector_style import LayerStyle, MapStyle, layer_files, read_style

__all__ = ["VectorRaster", "draw_layers", "open_vector"]

_CELL_PX = 256
_SAMPLES = 4
_MAX_CELLS = 64


def open_vector(path: Path, target: Raster) -> VectorRaster:
    """Open a style, GeoJSON or TopoJSON file as a picture in red, green and blue on the target's grid.

    Raises:
        RasterError: a file is missing or broken, or the target has no place on the Earth.
        ConfigError: the style is none, a filter fits no feature, or a CRS is unknown.
        SizeMismatchError: nothing lies on the target's ground. Names both extents.
    """
    grid = grid_of(target)
    files = (file for file in layer_files(path).values() if file.is_file())
    stamps = tuple((file, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return VectorRaster(str(path), grid, *draw_layers(path, stamps, grid, target.name))


@dataclass(frozen=True)
class Paint:
    """Shapes of one colour, in the grid's pixels. `width_px`: of strokes; None for areas."""

    colour: tuple[int, int, int]
    shapes: shapely.STRtree
    width_px: float | None

    def near(self, window: Window) -> NDArray[np.object_]:
        """Polygons that cover what this paints in the window; outside of it they may end anywhere."""
        reach = 1 + (self.width_px or 0) / 2
        box = shapely.box(window.x_px - reach, window.y_px - reach, window.x_end_px + reach, window.y_end_px + reach)
        shapes = self.shapes.geometries[np.sort(self.shapes.query(box))]
        shapely.prepare(box)
        cut = ~shapely.contains_properly(box, shapes)
        shapes[cut] = shapely.intersection(shapes[cut], box)
        if self.width_px is not None:
            shapes = shapely.buffer(shapes, self.width_px / 2, quad_segs=4)
        return polygonal(shapes)


class VectorRaster(Raster):
    """`paints` from bottom to top, over `background`."""

    bands = 3
    dtype: np.dtype[Any] = np.dtype(np.uint8)
    nodata = None

    def __init__(self, name: str, grid: Grid, style: MapStyle, paints: Sequence[Paint]) -> None:
        self.name, self.height_px, self.width_px = name, grid.height_px, grid.width_px
        self.crs: str | None = grid.crs
        self.transform: Transform | None = grid.transform
        self.is_antialiased = style.antialias
        self._paints = paints
        self._colours = np.array([_rgb(style.background), *(paint.colour for paint in paints)], np.uint8)
        self._cells: dict[tuple[int, int], NDArray[np.uint8]] = {}

    def read(self, window: Window) -> NDArray[np.uint8]:
        require_inside(window, self)
        out_HWC = np.empty((window.height_px, window.width_px, self.bands), np.uint8)
        for y_px in range(align_down(window.y_px, _CELL_PX), window.y_end_px, _CELL_PX):
            for x_px in range(align_down(window.x_px, _CELL_PX), window.x_end_px, _CELL_PX):
                cell = Window(y_px, x_px, _CELL_PX, _CELL_PX)
                part = cell.shift(-window.y_px, -window.x_px).clip(window.height_px, window.width_px)
                inner = part.shift(window.y_px - y_px, window.x_px - x_px)
                out_HWC[part.slices] = self._cell(cell)[inner.slices]
        return out_HWC

    @property
    def colours(self) -> NDArray[np.uint8]:
        """(number, 3): what it is drawn in, the background first."""
        return self._colours

    def close(self) -> None:
        self._cells.clear()

    def _cell(self, cell: Window) -> NDArray[np.uint8]:
        place = cell.y_px, cell.x_px
        if place not in self._cells:
            while len(self._cells) >= _MAX_CELLS:
                del self._cells[next(iter(self._cells))]
            self._cells[place] = self._draw(cell)
        return self._cells[place]

    def _draw(self, cell: Window) -> NDArray[np.uint8]:
        samples = _SAMPLES if self.is_antialiased else 1
        paint_HW = np.zeros((cell.height_px * samples, cell.width_px * samples), np.uint8)
        to_pixels = rasterio.Affine(1 / samples, 0, cell.x_px, 0, 1 / samples, cell.y_px)
        for number, paint in enumerate(self._paints, start=1):
            shapes = paint.near(cell)
            if len(shapes):
                rasterio.features.rasterize(shapes, out=paint_HW, transform=to_pixels, default_value=number)
        first = paint_HW[0, 0]
        if (paint_HW == first).all():
            return np.tile(self._colours[first], (cell.height_px, cell.width_px, 1))
        colours_HWC = self._colours.take(paint_HW, axis=0)
        if samples == 1:
            return colours_HWC
        mean_HWC: NDArray[np.uint8] = cv2.resize(colours_HWC, (_CELL_PX, _CELL_PX), interpolation=cv2.INTER_AREA)
        return mean_HWC


@lru_cache(maxsize=2)
def draw_layers(
    path: Path, _stamps: tuple[tuple[Path, int, int], ...], grid: Grid, target: str
) -> tuple[MapStyle, tuple[Paint, ...]]:
    """The style, and its layers on the grid: read and reprojected once a process, not once a block of tiles."""
    style = read_style(path)
    paints: list[Paint] = []
    extents: dict[str, tuple[str, Bounds]] = {}
    for layer in style.layers:
        file = path.parent / layer.file
        vector = read_vector_file(file, object_name=layer.object, crs=layer.crs)
        parts = _chosen_parts(vector, layer, file)
        extents[layer.file] = vector.crs, Bounds(*shapely.total_bounds(parts).tolist())
        paints += _paints(layer, Placer(vector.crs, vector.stitched, grid, margin_px=2 + layer.width_px / 2), parts)
    frame = shapely.box(0, 0, grid.width_px, grid.height_px)
    if not any(len(paint.shapes.query(frame)) for paint in paints):
        covered = "; ".join(f"{name} covers {_spelt(bounds)} of {crs}" for name, (crs, bounds) in extents.items())
        raise SizeMismatchError(
            f"{path} draws nothing on the ground of {target}, which covers {_spelt(grid.bounds)} of {grid.crs}: {covered}",
            remedy="Check that both show the same ground, and that coordinates are longitude first, or in the CRS declared",
        )
    return style, tuple(paints)


def _chosen_parts(vector: VectorFile, layer: LayerStyle, file: Path) -> list[shapely.Geometry]:
    known = {key for feature in vector.features for key in feature.properties}
    if unknown := layer.where.keys() - known:
        raise ConfigError(
            f"No feature of {file} has a property {min(unknown)!r}",
            remedy=f"Filter by one of: {', '.join(sorted(known))}" if known else "Leave out `where`: they have no properties",
        )
    parts = [part for feature in vector.features if _fits(feature.properties, layer.where) for part in feature.parts]
    if not parts:
        raise ConfigError(
            f"None of the {len(vector.features)} features of {file} fits {layer.where} and has a geometry",
            remedy="Mend or leave out `where`",
        )
    return parts


def _fits(properties: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
    def is_one_of(value: Any, wanted: Sequence[Any]) -> bool:
        return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in wanted)

    return all(
        is_one_of(properties.get(key), wanted if isinstance(wanted, list) else [wanted]) for key, wanted in where.items()
    )


def _paints(layer: LayerStyle, placer: Placer, parts: Sequence[shapely.Geometry]) -> list[Paint]:
    placed = placer.place(parts)
    fills = [Paint(_rgb(layer.fill), shapely.STRtree(placed.areas), None)] if layer.fill else []
    lines = [Paint(_rgb(layer.line), shapely.STRtree(placed.strokes), layer.width_px)] if layer.line else []
    return fills + lines


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue


def _spelt(bounds: Bounds) -> str:
    return f"({', '.join(f'{edge:g}' for edge in bounds)})"
