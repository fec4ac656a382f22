"""TopoJSON to GeoJSON: shapes as lists of arcs that neighbours share, written as small steps on an integer lattice.

Source: the TopoJSON format specification 1.0 (github.com/topojson/topojson-specification). Pure: no file is touched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import RasterError

__all__ = ["geojson_features"]

Positions = NDArray[np.float64]


def geojson_features(topology: Mapping[str, Any], object_name: str | None, *, name: str) -> list[dict[str, Any]]:
    """The features of one object of the topology, or of all; coordinates are (number of positions, 2) arrays.

    An object that is a collection is as many features as it has members. `name`: how messages call the file.

    Raises:
        RasterError: there is no such object (those there are get named), or what TopoJSON asks for is missing or broken.
    """
    objects = topology.get("objects")
    if not isinstance(objects, Mapping) or not objects:
        raise _broken(name, "it has no objects")
    if object_name is not None and object_name not in objects:
        raise RasterError(
            f"{name} has no object {object_name!r}", remedy=f"Choose one of: {', '.join(objects)}", reason="missing"
        )
    decode = _Decoder(topology, name)
    chosen = objects if object_name is None else {object_name: objects[object_name]}
    return [
        {"properties": member.get("properties"), "geometry": decode.geometry(member)}
        for one in chosen.values()
        for member in _members(one, name)
    ]


def _members(one: Any, name: str) -> Sequence[Mapping[str, Any]]:
    members = one.get("geometries") if isinstance(one, Mapping) and one.get("type") == "GeometryCollection" else [one]
    if not isinstance(members, list) or not all(isinstance(member, Mapping) for member in members):
        raise _broken(name, "an object is neither a geometry nor a collection of geometries")
    return members


class _Decoder:
    """Knows the topology's arcs and its lattice."""

    def __init__(self, topology: Mapping[str, Any], name: str) -> None:
        self._name = name
        try:
            lattice = topology.get("transform")
            self._scale = np.array(lattice["scale"] if lattice else (1, 1), float)
            self._origin = np.array(lattice["translate"] if lattice else (0, 0), float)
            steps = [np.array([position[:2] for position in arc], float).reshape(-1, 2) for arc in topology["arcs"]]
            self._arcs = [self._placed(np.cumsum(arc, axis=0) if lattice else arc) for arc in steps]
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(name, "its arcs or its transform are no lists of numbers") from error

    def _placed(self, lattice_points: Positions) -> Positions:
        with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is refused with its feature's number
            placed: Positions = lattice_points * self._scale + self._origin
        return placed

    def geometry(self, geometry: Mapping[str, Any]) -> dict[str, Any] | None:
        """As GeoJSON; a null geometry is None."""
        kind = geometry.get("type")
        try:
            if kind == "GeometryCollection":
                return {"type": kind, "geometries": [self.geometry(member) for member in geometry["geometries"]]}
            if kind in ("Point", "MultiPoint"):
                # Points are not steps, but they lie on the lattice.
                return {"type": kind, "coordinates": self._placed(np.array(geometry["coordinates"], float))}
            if kind in _NESTING:
                return {"type": kind, "coordinates": _NESTING[kind](self._line, geometry["arcs"])}
        except (KeyError, TypeError, ValueError) as error:
            raise _broken(self._name, f"a {kind} has no lists of arcs, or of positions") from error
        if kind is not None:
            raise _broken(self._name, f"it holds a geometry of unknown type {kind!r}")
        return None

    def _line(self, arcs: Sequence[int]) -> Positions:
        """Arcs end to end; ~i is arc i turned round. Where they meet, the position they share counts once."""
        pieces = [self._arc(index) for index in arcs]
        return np.concatenate([piece if i == 0 else piece[1:] for i, piece in enumerate(pieces)])

    def _arc(self, index: int) -> Positions:
        forward = ~index if index < 0 else index
        if forward >= len(self._arcs):
            raise _broken(self._name, f"a geometry uses arc {forward}, and there are {len(self._arcs)}")
        return self._arcs[forward][::-1] if index < 0 else self._arcs[forward]


_NESTING: dict[str, Callable[[Callable[[Any], Positions], Any], Any]] = {
    "LineString": lambda line, arcs: line(arcs),
    "MultiLineString": lambda line, lines: [line(arcs) for arcs in lines],
    "Polygon": lambda line, rings: [line(arcs) for arcs in rings],
    "MultiPolygon": lambda line, polygons: [[line(arcs) for arcs in rings] for rings in polygons],
}


def _broken(name: str, what: str) -> RasterError:
    return RasterError(f"{name} is no sound TopoJSON: {what}", remedy="Export it again", reason="unreadable")
