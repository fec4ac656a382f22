"""Longitudes that go on past 180 degrees, so that shapes across the antimeridian or around a pole are whole on a plane.

RFC 7946 wants such shapes cut at 180 degrees, and many files have them so; makers of TopoJSON stitch the pieces together
again, and a border then steps from 179.9 to -179.9. Here it goes on to 180.1. Whoever draws shifts by 360 to where he needs it.

Legend: positions are (n, 2) longitudes and latitudes; part (n,) says which line or ring each belongs to, ascending.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["goes_round", "outlines", "unrolled", "whole_polygon"]

Positions = NDArray[np.float64]

_ROUND_DEG = 340.0
"""An edge of more degrees than this goes the short way round. GDAL's `-wrapdateline` has the same 20 degrees."""
_SAME_DEG = 1e-6
_POLE_DEG = 89.9


def goes_round(positions: Positions, part: NDArray[np.intp], *, stitched: bool) -> NDArray[np.bool_]:
    """(n,): whether the edge that ends at a position crosses the antimeridian. False where a part begins.

    An edge from exactly 180 to exactly -180 is ambiguous: a stitch in a stitched file, else (and along a pole) the straight
    edge of a shape that spans the whole map.
    """
    x, y = positions[:, 0], positions[:, 1]
    crosses = np.zeros(len(x), np.bool_)
    crosses[1:] = (np.abs(np.diff(x)) >= _ROUND_DEG) & (part[1:] == part[:-1])
    exact, polar = np.abs(np.abs(x) - 180) < _SAME_DEG, np.abs(y) > _POLE_DEG
    straight = exact[1:] & exact[:-1] & (polar[1:] & polar[:-1] if stitched else True)
    crosses[1:] &= ~straight
    return crosses


def unrolled(positions: Positions, part: NDArray[np.intp], *, stitched: bool) -> Positions:
    """The positions with longitudes that go on past 180 degrees; each part begins where it did."""
    crosses = np.flatnonzero(goes_round(positions, part, stitched=stitched))
    turns = np.zeros(len(positions))
    turns[crosses] = -np.sign(positions[crosses, 0] - positions[crosses - 1, 0])
    total = np.cumsum(turns)
    first = np.searchsorted(part, part)  # of each position's part; no edge ends there
    return positions + np.stack([360 * (total - total[first]), np.zeros(len(total))], axis=1)


def whole_polygon(polygon: shapely.Polygon, *, stitched: bool) -> shapely.Polygon:
    """The polygon unrolled. One that goes round the globe is closed over the pole it lies nearer to."""
    shell, *holes = (_unrolled_ring(ring, stitched=stitched) for ring in (polygon.exterior, *polygon.interiors))
    middle = (shell[:, 0].min() + shell[:, 0].max()) / 2
    for hole in holes:
        hole[:, 0] += 360 * np.round((middle - hole[:, 0].mean()) / 360)
    return shapely.Polygon(shell, holes)


def _unrolled_ring(ring: shapely.LinearRing, *, stitched: bool) -> Positions:
    positions = shapely.get_coordinates(ring)
    positions = unrolled(positions, np.zeros(len(positions), np.intp), stitched=stitched)
    if abs(positions[-1, 0] - positions[0, 0]) < 180:
        return positions
    pole = np.copysign(90.0, positions[:, 1].mean())
    return np.concatenate([positions, [(positions[-1, 0], pole), (positions[0, 0], pole), positions[0]]])


def outlines(lines: Sequence[shapely.Geometry] | NDArray[np.object_], *, stitched: bool) -> NDArray[np.object_]:
    """The lines and rings unrolled, without edges along the antimeridian or a pole: files cut shapes there, no border is."""
    positions, part = shapely.get_coordinates(lines, return_index=True)
    positions = unrolled(positions, part, stitched=stitched)
    on_cut = np.abs(np.mod(positions[:, 0], 360) - 180) < _SAME_DEG
    on_pole = np.abs(positions[:, 1]) > _POLE_DEG
    drawn = np.zeros(len(positions), np.bool_)  # the edge that ends here
    drawn[1:] = (part[1:] == part[:-1]) & ~(on_cut[1:] & on_cut[:-1]) & ~(on_pole[1:] & on_pole[:-1])
    run = np.cumsum(~drawn) - 1
    long_enough = (np.bincount(run) >= 2)[run]
    made: NDArray[np.object_] = shapely.linestrings(
        positions[long_enough], indices=np.unique(run[long_enough], return_inverse=True)[1]
    )
    return made
