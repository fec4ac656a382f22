"""GeoJSON and TopoJSON files: features with properties, and the simple shapes they are made of.

Coordinates are longitude and latitude (EPSG:4326), as RFC 7946 has it, unless the file declares another CRS in a member `crs`
(GeoJSON 2008) or whoever asks knows better. Features are counted from 1.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import shapely
from numpy.typing import NDArray

from p2p_core.errors import ConfigError, RasterError
from p2p_core.rasters.geotiff import parse_crs
from p2p_core.rasters.topojson import geojson_features

__all__ = ["VECTOR_SUFFIXES", "Feature", "VectorFile", "is_vector", "load_json", "read_vector_file"]

VECTOR_SUFFIXES = (".geojson", ".topojson", ".json")
_LONGITUDE_LATITUDE = "EPSG:4326"
_MIN_POSITIONS = {"LineString": 2, "Polygon": 4}
_GEOMETRIES = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon", "GeometryCollection")


@dataclass(frozen=True)
class Feature:
    """`parts`: its Points, LineStrings and Polygons, none of them multiple; none at all of a null geometry."""

    properties: Mapping[str, Any]
    parts: tuple[shapely.Geometry, ...]


@dataclass(frozen=True)
class VectorFile:
    """`stitched`: shapes may cross the antimeridian, as makers of TopoJSON join what others cut there."""

    crs: str
    stitched: bool
    features: tuple[Feature, ...]


def is_vector(path: Path) -> bool:
    """Whether it is a GeoJSON, TopoJSON or map style file, by its suffix."""
    return path.suffix.lower() in VECTOR_SUFFIXES and not path.is_dir()


def load_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RasterError: missing, empty, not readable, not JSON, or not an object.
    """
    try:
        data = path.read_bytes()
        if not data.strip():
            raise RasterError(f"{path} is empty", remedy="Fetch or export it again", reason="empty")
        value = json.loads(data, parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise RasterError(f"{path} does not exist", remedy="Check the path", reason="missing") from error
    except OSError as error:
        raise RasterError(f"{path} cannot be read: {error.strerror}", remedy="Make it readable for this user") from error
    except (ValueError, RecursionError) as error:
        raise RasterError(f"{path} is not JSON: {error}", remedy="Fetch or export it again as GeoJSON or TopoJSON") from error
    if not isinstance(value, dict):
        raise RasterError(
            f"{path} is JSON, but no object", remedy="Give GeoJSON, TopoJSON or a map style", reason="unsupported"
        )
    return value


def read_vector_file(path: Path, *, object_name: str | None = None, crs: str | None = None) -> VectorFile:
    """Read every feature. `object_name`: of a TopoJSON file, one object alone. `crs` wins over what the file declares.

    Raises:
        RasterError: the file is not GeoJSON or TopoJSON, has no features, or one is broken; it is named by its number. Or it
            declares a CRS that PROJ does not know, or its coordinates are no longitude and latitude where they have to be.
        ConfigError: `crs` is none, or `object_name` is asked of GeoJSON.
    """
    content = load_json(path)
    stitched = content.get("type") == "Topology"
    raw: Sequence[Mapping[str, Any]]
    if stitched:
        raw = geojson_features(content, object_name, name=str(path))
    else:
        raw = _geojson_features(path, content)
        if object_name is not None:
            raise ConfigError(f"{path} is GeoJSON, which has no objects to choose from", remedy="Leave out `object`")
    if not raw:
        raise RasterError(f"{path} has no features", remedy="Export it again, or leave it out", reason="empty")
    declared = crs or _declared_crs(content, path)
    features = tuple(
        Feature(_properties(one), tuple(_parts(one.get("geometry"), f"{path}, feature {number}")))
        for number, one in enumerate(raw, start=1)
    )
    if not any(feature.parts for feature in features):
        raise RasterError(
            f"None of the {len(features)} features of {path} has a geometry", remedy="Export it with geometries", reason="empty"
        )
    if parse_crs(declared).is_geographic:
        _require_degrees(features, path)
    return VectorFile(declared, stitched, features)


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number there")


def _geojson_features(path: Path, content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    kind = content.get("type")
    if kind in _GEOMETRIES:
        return [{"geometry": content}]
    members = content.get("features") if kind == "FeatureCollection" else [content] if kind == "Feature" else None
    if not isinstance(members, list):
        raise RasterError(
            f"{path} is neither GeoJSON nor TopoJSON: its type is {kind!r}",
            remedy="Give a FeatureCollection, a Feature, a geometry or a Topology",
            reason="unsupported",
        )
    for number, member in enumerate(members, start=1):
        if not isinstance(member, Mapping):
            raise _broken(f"{path}, feature {number}", "it is no object")
    return members


def _declared_crs(content: Mapping[str, Any], path: Path) -> str:
    declared = content.get("crs")
    if declared is None:
        return _LONGITUDE_LATITUDE
    try:
        crs = declared["properties"]["name"]
        parse_crs(crs)
    except (KeyError, TypeError, ConfigError) as error:
        raise RasterError(
            f"{path} declares a CRS that nobody knows: {json.dumps(declared)[:200]}",
            remedy="Export it in EPSG:4326 without a member `crs`, or give the layer's `crs` in a map style",
        ) from error
    return str(crs)


def _properties(feature: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = feature.get("properties")
    return properties if isinstance(properties, Mapping) else {}


def _parts(geometry: Any, where: str) -> Iterator[shapely.Geometry]:
    """Raises `RasterError` for what is no geometry; a null or empty one has no parts."""
    if geometry is None:
        return
    kind = geometry.get("type") if isinstance(geometry, Mapping) else None
    if kind == "GeometryCollection":
        for member in _listed(geometry.get("geometries"), where, "geometries"):
            yield from _parts(member, where)
    elif kind in _GEOMETRIES:
        coordinates = _listed(geometry.get("coordinates"), where, "coordinates")
        if len(coordinates) == 0:
            return
        single = str(kind).removeprefix("Multi")
        for one in [coordinates] if single == kind else coordinates:
            yield _simple(single, one, where)
    else:
        raise _broken(where, f"its geometry is of unknown type {kind!r}")


def _simple(kind: str, coordinates: Any, where: str) -> shapely.Geometry:
    if kind == "Point":
        return shapely.Point(_positions([coordinates], where)[0])
    if kind == "LineString":
        return shapely.LineString(_line(coordinates, kind, where))
    rings = [_line(ring, kind, where) for ring in _listed(coordinates, where, "coordinates")]
    if not rings:
        raise _broken(where, "its polygon has no rings")
    for ring in rings:
        if not np.array_equal(ring[0], ring[-1]):
            raise _broken(where, f"a ring of its polygon begins at {_spelt(ring[0])} and ends at {_spelt(ring[-1])}")
    return shapely.Polygon(rings[0], rings[1:])


def _line(coordinates: Any, kind: str, where: str) -> NDArray[np.float64]:
    positions = _positions(coordinates, where)
    if len(positions) < _MIN_POSITIONS[kind]:
        what = "a ring of its polygon" if kind == "Polygon" else "a line"
        raise _broken(where, f"{what} has {len(positions)} positions, and needs {_MIN_POSITIONS[kind]}")
    return positions


def _positions(coordinates: Any, where: str) -> NDArray[np.float64]:
    """(number, 2): the height that some positions carry is left out."""
    try:
        whole = coordinates if isinstance(coordinates, np.ndarray) else np.array([position[:2] for position in coordinates])
        positions = whole[..., :2]
    except (TypeError, ValueError, IndexError, KeyError):
        positions = np.empty(0, object)
    if positions.ndim != 2 or positions.shape[1] != 2 or positions.dtype.kind not in "iuf":
        raise _broken(where, "its coordinates are no positions of two numbers")
    if not np.isfinite(positions).all():
        raise _broken(where, "a coordinate is infinite")
    return positions.astype(np.float64)


def _listed(value: Any, where: str, key: str) -> list[Any] | NDArray[Any]:
    if not isinstance(value, list | np.ndarray):
        raise _broken(where, f"its {key} are no list")
    return value


def _require_degrees(features: Sequence[Feature], path: Path) -> None:
    for number, feature in enumerate(features, start=1):
        positions = shapely.get_coordinates(list(feature.parts))
        outside = np.abs(positions) > (360.001, 90.001)
        if outside.any():
            raise RasterError(
                f"{path}, feature {number}: {_spelt(positions[outside.any(axis=1)][0])} is no longitude and latitude",
                remedy="Reproject the file to EPSG:4326, or say what it is: the layer's `crs` in a map style",
            )


def _spelt(position: NDArray[np.float64]) -> str:
    return f"({position[0]:g}, {position[1]:g})"


def _broken(where: str, what: str) -> RasterError:
    return RasterError(f"{where}: {what}", remedy="Mend or remove the feature, or export the file again")
