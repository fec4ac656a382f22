"""Shapes from a file's coordinates to the pixels of a grid: unrolled, clipped to the grid's ground, reprojected, bent.

A straight edge in the file's CRS may be a curve on the grid; it is cut until it lies within `_TOLERANCE_PX` of that curve.
Legend: positions are (n, 2) coordinates; pixels are theirs on the grid, x then y, fractions of a pixel included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import rasterio
import rasterio.warp
import shapely
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # GDAL's own errors pass through some calls unwrapped
from rasterio.errors import RasterioError

from p2p_core.errors import SizeMismatchError
from p2p_core.rasters.antimeridian import goes_round, outlines, whole_polygon
from p2p_core.rasters.geotiff import parse_crs, reproject_bounds
from p2p_core.rasters.grid import Bounds, Grid

__all__ = ["Placed", "Placer", "polygonal"]

Positions = NDArray[np.float64]
Shapes = NDArray[np.object_]

_TOLERANCE_PX = 0.02
_MAX_ROUNDS = 12  # each divides an edge in four
_PROBES = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Placed:
    """In pixels of the grid: `areas` are valid Polygons; `strokes` are LineStrings and Points."""

    areas: Shapes
    strokes: Shapes


@dataclass(frozen=True)
class Placer:
    """Takes shapes in `crs` to the pixels of `grid`. `margin_px`: how far outside of it shapes still matter."""

    crs: str
    stitched: bool
    grid: Grid
    margin_px: float

    def place(self, parts: Sequence[shapely.Geometry]) -> Placed:
        """Raises `SizeMismatchError` where a shape has no place in the grid's CRS."""
        shapes = np.array(parts, dtype=object)
        kind = shapely.get_type_id(shapes)
        points, lines, areas = (shapes[kind == wanted] for wanted in (0, 1, 3))
        lines = np.concatenate([lines, shapely.get_rings(areas)])
        if self._wraps:
            areas, lines = self._whole(areas), outlines(lines, stitched=self.stitched)
            points, lines, areas = (self._clipped(some) for some in (points, lines, areas))
        strokes = np.concatenate([self._points(points), self._lines(shapely.get_parts(lines))])
        return Placed(self._areas(polygonal(areas)), strokes)

    @cached_property
    def _wraps(self) -> bool:
        return bool(parse_crs(self.crs).is_geographic)

    @cached_property
    def _same(self) -> bool:
        return bool(parse_crs(self.crs) == parse_crs(self.grid.crs))

    def _whole(self, areas: Shapes) -> Shapes:
        rings, owner = shapely.get_rings(areas, return_index=True)
        positions, ring = shapely.get_coordinates(rings, return_index=True)
        for index in np.unique(owner[ring[goes_round(positions, ring, stitched=self.stitched)]]):
            areas[index] = whole_polygon(areas[index], stitched=self.stitched)
        return areas

    def _clipped(self, shapes: Shapes) -> Shapes:
        """What lies on the grid's ground, each shape as often as it comes there on its way round the globe."""
        west, south, east, north = self._ground
        ground = shapely.box(west, south, east, north)
        shapely.prepare(ground)
        kept = []
        for shift in (-360.0, 0.0, 360.0):
            box = np.add(shapely.bounds(shapes), (shift, 0, shift, 0))
            near = (box[:, 0] <= east) & (box[:, 2] >= west) & (box[:, 1] <= north) & (box[:, 3] >= south)
            moved = shapely.transform(shapes[near], partial(np.add, (shift, 0.0)))
            outside = ~shapely.contains_properly(ground, moved)
            moved[outside] = shapely.intersection(_valid(moved[outside]), ground)
            kept.append(moved[~shapely.is_empty(moved)])
        return np.concatenate(kept)

    @cached_property
    def _ground(self) -> Bounds:
        """The grid's ground in the shapes' CRS; its east may lie past 180 degrees. With a margin where the globe has one.

        A step into the margin has to be a step on the grid as well: at a pole or the far edge of a projection it is not.
        """
        grid = self.grid
        west, south, east, north = grid.bounds if self._same else self._reprojected_ground()
        step = 4 * self.margin_px * max((east - west) / grid.width_px, (north - south) / grid.height_px)
        box = np.array([west, south, east, north])
        for side in range(4):
            wider = box.copy()
            wider[side] += step if side > 1 else -step
            wider[1::2] = wider[1::2].clip(-90, 90)
            if self._same or self._is_smooth(_side(box, side), _side(wider, side)):
                box = wider
        return Bounds(*box.tolist())

    def _reprojected_ground(self) -> Bounds:
        """Without a margin; the whole globe where a side of the grid lies off it, as in the corners of an oval world map."""
        own = self.grid.bounds
        sides = np.concatenate([_side(np.array(own), side) for side in range(4)])
        if not np.isfinite(_transformed(sides, self.grid.crs, self.crs)).all():
            return Bounds(-180, -90, 180, 90)
        there = reproject_bounds(own, self.grid.crs, self.crs)
        return there._replace(east=there.east + 360) if there.east < there.west else there

    def _is_smooth(self, start: Positions, end: Positions) -> bool:
        """Whether pixels move steadily while positions go from `start` to `end`: no pole and no far edge between."""
        share = np.linspace(0, 1, 17)[:, np.newaxis, np.newaxis]
        way = self._pixels((start + share * (end - start)).reshape(-1, 2)).reshape(17, -1, 2)
        if not np.isfinite(way).all():
            return False
        steps = np.hypot(*np.moveaxis(np.diff(way, axis=0), 2, 0))
        return bool(steps.max() <= 8 * np.median(steps))

    def _points(self, points: Shapes) -> Shapes:
        made: Shapes = np.atleast_1d(shapely.points(self._checked(self._pixels(shapely.get_coordinates(points)))))
        return made

    def _lines(self, lines: Shapes) -> Shapes:
        positions, part = self._bent(lines[shapely.get_type_id(lines) == 1])
        made: Shapes = np.atleast_1d(shapely.linestrings(positions, indices=part))
        return made

    def _areas(self, areas: Shapes) -> Shapes:
        rings, owner = shapely.get_rings(areas, return_index=True)
        positions, part = self._bent(rings)
        made: Shapes = np.atleast_1d(shapely.polygons(shapely.linearrings(positions, indices=part), indices=owner))
        return polygonal(_valid(made))

    def _bent(self, lines: Shapes) -> tuple[Positions, NDArray[np.intp]]:
        """Pixels along lines or rings, and the number of each one's line."""
        positions, part = shapely.get_coordinates(lines, return_index=True)
        pixels = self._checked(self._pixels(positions))
        if self._same:
            return pixels, part
        unsure = np.append(part[1:] == part[:-1], False)[: len(part)]  # edges, by where they begin
        for _ in range(_MAX_ROUNDS):
            edges = np.flatnonzero(unsure)
            if not len(edges):
                break
            probes = _between(positions, edges)
            probes_px = self._pixels(probes.reshape(-1, 2)).reshape(probes.shape)
            bend = self._bends(pixels, edges, probes_px)
            edges, probes, probes_px = edges[bend], probes[bend], probes_px[bend]
            places = np.repeat(edges + 1, len(_PROBES))
            unsure = np.zeros(len(part), np.bool_)
            unsure[edges] = True
            unsure = np.insert(unsure, places, True)
            positions = np.insert(positions, places, probes.reshape(-1, 2), axis=0)
            pixels = np.insert(pixels, places, probes_px.reshape(-1, 2), axis=0)
            part = np.insert(part, places, np.repeat(part[edges], len(_PROBES)))
        return self._checked(pixels), part

    def _bends(self, pixels: Positions, edges: NDArray[np.intp], probes_px: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(edges,): whether the curve leaves the straight edge by more than the tolerance, where that can be seen."""
        chords = _between(pixels, edges)
        off_px = np.hypot(*np.moveaxis(probes_px - chords, 2, 0)).max(axis=1)
        around = np.concatenate([pixels[edges][:, np.newaxis], probes_px, pixels[edges + 1][:, np.newaxis]], axis=1)
        reach = (self.margin_px + 4 * off_px)[:, np.newaxis]
        size = (self.grid.width_px, self.grid.height_px)
        seen = ((around.min(axis=1) - reach <= size) & (around.max(axis=1) + reach >= 0)).all(axis=1)
        bends: NDArray[np.bool_] = (off_px > _TOLERANCE_PX) & seen
        return bends

    def _checked(self, pixels: Positions) -> Positions:
        if not np.isfinite(pixels).all():
            raise SizeMismatchError(
                f"Shapes in {self.crs} reach where {self.grid.crs} has no place for them",
                remedy="Cut them to the raster's ground, or give them in EPSG:4326",
            )
        return pixels

    def _pixels(self, positions: Positions) -> Positions:
        """Infinite where the grid's CRS has no place."""
        xs, ys = (positions if self._same else _transformed(positions, self.crs, self.grid.crs)).T
        a, b, c, d, e, f = tuple(~rasterio.Affine(*self.grid.transform))[:6]
        with np.errstate(invalid="ignore"):  # infinite times 0
            return np.stack([a * xs + b * ys + c, d * xs + e * ys + f], axis=1)


def _transformed(positions: Positions, from_crs: str, to_crs: str) -> Positions:
    """All of it infinite where some of it has no place in `to_crs`."""
    if not len(positions):
        return positions
    try:
        xs, ys = rasterio.warp.transform(parse_crs(from_crs), parse_crs(to_crs), *positions.T)
    except (RasterioError, CPLE_BaseError):
        return np.full_like(positions, np.inf)
    return np.stack([xs, ys], axis=1)


def polygonal(shapes: Shapes) -> Shapes:
    """The Polygons in any geometries, whatever else they hold."""
    parts = shapely.get_parts(shapely.get_parts(shapes))
    kept: Shapes = parts[(shapely.get_type_id(parts) == 3) & ~shapely.is_empty(parts)]
    return kept


def _valid(shapes: Shapes) -> Shapes:
    """Where an outline crosses itself, what it encloses an odd number of times is inside."""
    bad = ~shapely.is_valid(shapes)
    shapes[bad] = shapely.make_valid(shapes[bad])
    return shapes


def _between(positions: Positions, edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """(edges, probes, 2): where the probes lie on straight edges."""
    start, end = positions[edges][:, np.newaxis], positions[edges + 1][:, np.newaxis]
    between: NDArray[np.float64] = start + (end - start) * np.array(_PROBES)[:, np.newaxis]
    return between


def _side(box: NDArray[np.float64], side: int) -> Positions:
    """Nine positions along a side of (west, south, east, north), by its place there."""
    corners = np.full((9, 2), box[side])
    along = 1 - side % 2
    corners[:, along] = np.linspace(box[along], box[along + 2], 9)
    return corners
