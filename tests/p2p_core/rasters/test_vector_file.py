"""What GeoJSON files may be, and what is said of those that are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import shapely

from p2p_core.errors import ConfigError, P2PError, RasterError
from p2p_core.rasters.vector_file import is_vector, read_vector_file

SQUARE = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
HOLE = [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]


def feature(kind: str, coordinates: Any) -> dict[str, Any]:
    return {"type": "Feature", "properties": {}, "geometry": {"type": kind, "coordinates": coordinates}}


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def read(path: Path, content: Any, **options: Any) -> Any:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_vector_file(path, **options)


def test_multiple_and_nested_geometries_come_apart_into_simple_ones(tmp_path: Path) -> None:
    nested = {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [SQUARE]]},
            {"type": "MultiLineString", "coordinates": [SQUARE, HOLE]},
            {"type": "MultiPoint", "coordinates": [[1, 2, 300], [3, 4]]},
        ],
    }
    parts = read(tmp_path / "a.geojson", nested).features[0].parts
    assert [part.geom_type for part in parts] == ["Polygon"] * 2 + ["LineString"] * 2 + ["Point"] * 2
    assert [part.area for part in parts] == [15, 16, 0, 0, 0, 0]
    assert parts[4] == shapely.Point(1, 2)


def test_null_and_empty_geometries_have_no_parts(tmp_path: Path) -> None:
    null = {"type": "Feature", "properties": None, "geometry": None}
    found = read(tmp_path / "a.geojson", collection(null, feature("Polygon", []), feature("Point", [1, 2])))
    assert [len(one.parts) for one in found.features] == [0, 0, 1]
    assert found.crs == "EPSG:4326"


def test_a_declared_crs_is_taken_and_a_given_one_wins(tmp_path: Path) -> None:
    metres = collection(feature("Point", [500000, 4e6]))
    declared = {**metres, "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32618"}}}
    assert read(tmp_path / "a.json", declared).crs == "urn:ogc:def:crs:EPSG::32618"
    assert read(tmp_path / "a.json", declared, crs="EPSG:32633").crs == "EPSG:32633"
    with pytest.raises(RasterError, match=r"a\.json, feature 1: \(500000, 4e\+06\) is no longitude and latitude"):
        read(tmp_path / "a.json", metres)
    for nobody in ({"type": "name", "properties": {"name": "EPSG:999999"}}, {"type": "link"}, "EPSG:4326"):
        with pytest.raises(RasterError, match=r"a\.json declares a CRS that nobody knows"):
            read(tmp_path / "a.json", {**metres, "crs": nobody})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.geojson is empty"),
        ("{", "a.geojson is not JSON: .*line 1"),
        ("\xff\xfe", "a.geojson is not JSON"),
        ('{"type": "Point", "coordinates": [NaN, 0]}', "a.geojson is not JSON: NaN is no number"),
        ("[" * 100_000, "a.geojson is not JSON"),
        ([1, 2], "is JSON, but no object"),
        ({"type": "Bogus"}, "neither GeoJSON nor TopoJSON: its type is 'Bogus'"),
        ({"type": "FeatureCollection"}, "neither GeoJSON nor TopoJSON: its type is 'FeatureCollection'"),
        (collection(), "a.geojson has no features"),
        (collection(3), "feature 1: it is no object"),
        (collection({"type": "Feature", "geometry": None}), "None of the 1 features of .* has a geometry"),
        (
            collection(feature("Point", [1, 2]), feature("Circle", [1, 2])),
            "feature 2: its geometry is of unknown type 'Circle'",
        ),
        (collection(feature("Polygon", 3)), "feature 1: its coordinates are no list"),
        (collection(feature("Polygon", [3])), "feature 1: its coordinates are no positions of two numbers"),
        (collection(feature("Polygon", [SQUARE[:3]])), "feature 1: a ring of its polygon has 3 positions, and needs 4"),
        (collection(feature("Polygon", [SQUARE[:4]])), r"feature 1: a ring .* begins at \(0, 0\) and ends at \(0, 4\)"),
        (collection(feature("LineString", [[1, 2]])), "feature 1: a line has 1 positions, and needs 2"),
        (collection(feature("LineString", [["1", "2"], ["3", "4"]])), "feature 1: its coordinates are no positions"),
        (collection(feature("LineString", [[1], [2]])), "feature 1: its coordinates are no positions"),
        (collection(feature("Point", [1, [2]])), "feature 1: its coordinates are no positions"),
        (collection(feature("MultiPolygon", [[]])), "feature 1: its polygon has no rings"),
        (collection(feature("Point", [True, False])), "feature 1: its coordinates are no positions"),
        ('{"type": "Point", "coordinates": [1e999, 0]}', "feature 1: a coordinate is infinite"),
    ],
)
def test_a_broken_file_is_named_with_the_feature_and_the_fault(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(P2PError, match=message) as caught:
        read(tmp_path / "a.geojson", content)
    assert isinstance(caught.value, RasterError)


def test_absent_files_and_objects_of_geojson_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r"b\.geojson does not exist"):
        read_vector_file(tmp_path / "b.geojson")
    with pytest.raises(ConfigError, match="GeoJSON, which has no objects"):
        read(tmp_path / "a.geojson", collection(feature("Point", [1, 2])), object_name="land")


def test_vector_files_are_known_by_their_suffix(tmp_path: Path) -> None:
    assert is_vector(Path("a.GeoJSON"))
    assert not is_vector(Path("a.tif"))
    (tmp_path / "tree.json").mkdir()
    assert not is_vector(tmp_path / "tree.json")
