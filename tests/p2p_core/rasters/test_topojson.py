"""TopoJSON by hand: two squares that share a border, on a lattice and without one."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from p2p_core.errors import RasterError
from p2p_core.rasters.topojson import geojson_features

# A west square (0,0)-(2,2) and an east one (2,0)-(4,2). Arc 0 is their border, northwards; 1 and 2 are what each has alone.
PLAIN: dict[str, Any] = {
    "type": "Topology",
    "arcs": [[[2, 0], [2, 2]], [[2, 2], [0, 2], [0, 0], [2, 0]], [[2, 2], [4, 2], [4, 0], [2, 0]]],
    "objects": {
        "land": {
            "type": "GeometryCollection",
            "geometries": [
                {"type": "Polygon", "arcs": [[0, 1]], "properties": {"name": "west"}},
                {"type": "Polygon", "arcs": [[-3, -1]]},
                {"type": None},
            ],
        },
        "border": {"type": "LineString", "arcs": [0]},
        "town": {"type": "Point", "coordinates": [1, 1]},
    },
}
WEST = [(2, 0), (2, 2), (0, 2), (0, 0), (2, 0)]
EAST = [(2, 0), (4, 0), (4, 2), (2, 2), (2, 0)]


def on_a_lattice() -> dict[str, Any]:
    """The same, in steps of 0.5 degrees from (-10, 40): every position is there at half the size."""
    topology = copy.deepcopy(PLAIN)
    topology["arcs"] = [[[2, 0], [0, 2]], [[2, 2], [-2, 0], [0, -2], [2, 0]], [[2, 2], [2, 0], [0, -2], [-2, 0]]]
    topology["transform"] = {"scale": [0.5, 0.5], "translate": [-10, 40]}
    return topology


def coordinates(topology: dict[str, Any], object_name: str) -> list[Any]:
    features = geojson_features(topology, object_name, name="t.json")
    return [feature["geometry"] and feature["geometry"]["coordinates"] for feature in features]


def test_arcs_join_and_turn_round() -> None:
    west, east, nothing = coordinates(PLAIN, "land")
    assert [list(map(tuple, ring)) for ring in west] == [WEST]
    assert [list(map(tuple, ring)) for ring in east] == [EAST]
    assert nothing is None
    np.testing.assert_array_equal(coordinates(PLAIN, "border")[0], [(2, 0), (2, 2)])


def test_steps_on_a_lattice_are_added_up_and_scaled() -> None:
    for name in ("land", "border", "town"):
        for plain, small in zip(coordinates(PLAIN, name), coordinates(on_a_lattice(), name), strict=True):
            if plain is not None:
                np.testing.assert_array_equal(np.squeeze(small), np.squeeze(plain) * 0.5 + (-10, 40))


def test_without_a_name_every_object_counts_and_properties_stay() -> None:
    features = geojson_features(PLAIN, None, name="t.json")
    kinds = [feature["geometry"] and feature["geometry"]["type"] for feature in features]
    assert kinds == ["Polygon", "Polygon", None, "LineString", "Point"]
    assert features[0]["properties"] == {"name": "west"}


def test_many_shapes_in_one_geometry_keep_their_nesting() -> None:
    topology = copy.deepcopy(PLAIN)
    topology["objects"] = {
        "two": {"type": "MultiPolygon", "arcs": [[[0, 1]], [[-3, -1]]]},
        "lines": {"type": "MultiLineString", "arcs": [[0], [~0]]},
    }
    (two,), (lines,) = (coordinates(topology, name) for name in ("two", "lines"))
    assert [list(map(tuple, polygon[0])) for polygon in two] == [WEST, EAST]
    assert [list(map(tuple, line)) for line in lines] == [[(2, 0), (2, 2)], [(2, 2), (2, 0)]]


def test_an_object_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(RasterError, match=r"t\.json has no object 'sea'\. Choose one of: land, border, town\."):
        geojson_features(PLAIN, "sea", name="t.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"objects": {}}, "it has no objects"),
        ({"objects": {"a": 3}}, "neither a geometry nor a collection"),
        ({"arcs": None}, "its arcs or its transform are no lists of numbers"),
        ({"arcs": [[["x", "y"]]]}, "its arcs or its transform are no lists of numbers"),
        ({"transform": {"scale": [1]}}, "its arcs or its transform are no lists of numbers"),
        ({"objects": {"a": {"type": "Polygon", "arcs": [[7]]}}}, "uses arc 7, and there are 3"),
        ({"objects": {"a": {"type": "Polygon", "arcs": [[-5]]}}}, "uses arc 4, and there are 3"),
        ({"objects": {"a": {"type": "Polygon", "arcs": [["0"]]}}}, "a Polygon has no lists of arcs"),
        ({"objects": {"a": {"type": "LineString", "arcs": []}}}, "a LineString has no lists of arcs"),
        ({"objects": {"a": {"type": "Point"}}}, "a Point has no lists of arcs, or of positions"),
        ({"objects": {"a": {"type": "Circle"}}}, "unknown type 'Circle'"),
    ],
)
def test_a_broken_topology_says_what_is_wrong(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RasterError, match=message):
        geojson_features({**PLAIN, **change}, None, name="t.json")
