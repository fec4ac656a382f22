"""How shapes become a map: layers from bottom to top, their colours and line widths, in one JSON file.

A bare GeoJSON or TopoJSON file is drawn as land with borders on water.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from p2p_core.config import Config
from p2p_core.errors import ConfigError
from p2p_core.rasters.vector_file import load_json

__all__ = ["LayerStyle", "MapStyle", "layer_files", "read_style"]

Colour = Annotated[str, Field(pattern="^#[0-9a-fA-F]{6}$")]
Scalar = str | bool | int | float | None

_WATER, _LAND, _BORDER = "#aad3df", "#f2efe9", "#8d618b"


class LayerStyle(Config):
    """One file's shapes. Areas are filled first, then lines, outlines and points are drawn over them, round-ended.

    Attributes:
        file: GeoJSON or TopoJSON; relative to the style file.
        object: of a TopoJSON file, one object; all of them unless given.
        where: only the features whose property has the value, or one of the values: {"class": ["motorway", "trunk"]}.
        crs: of the coordinates, where the file does not say it and they are not EPSG:4326.
        fill, line: colours, #rrggbb; at least one of them. Points are dots in the line's colour.
        width_px: of lines, and the diameter of points, in the target's pixels.
    """

    file: str
    object: str | None = None
    where: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict)
    crs: str | None = None
    fill: Colour | None = None
    line: Colour | None = None
    width_px: float = Field(default=1.0, ge=0.25, le=256)

    @model_validator(mode="after")
    def _paints_something(self) -> Self:
        if self.fill is None and self.line is None:
            raise ValueError("it has neither `fill` nor `line`, so it would paint nothing")
        return self


class MapStyle(Config):
    """`layers`: from bottom to top. `antialias`: false gives every pixel exactly one of the colours: for palettes."""

    layers: tuple[LayerStyle, ...] = Field(min_length=1, max_length=100)
    background: Colour = _WATER
    antialias: bool = True

    @model_validator(mode="after")
    def _lines_hold_together(self) -> Self:
        if not self.antialias and any(layer.line and layer.width_px < 1 for layer in self.layers):
            raise ValueError("lines below 1 px fall apart without antialiasing")
        return self


def read_style(path: Path) -> MapStyle:
    """The style in a file, or the default one around a bare GeoJSON or TopoJSON file.

    Raises:
        RasterError: the file is missing, or not a JSON object.
        ConfigError: an unknown key or a value that cannot be, by its layer; or the file is nothing of the three.
    """
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else None
    return _read_style(path, stamp)


@lru_cache(maxsize=16)
def _read_style(path: Path, _stamp: tuple[int, int] | None) -> MapStyle:
    """Parsed once while the file stays as it is: a bare file may be large, and is asked for with every block of tiles."""
    content = load_json(path)
    if "type" in content:
        return MapStyle(layers=(LayerStyle(file=path.name, fill=_LAND, line=_BORDER),))
    if "layers" not in content:
        raise ConfigError(
            f"{path} is neither GeoJSON nor TopoJSON (no `type`) nor a map style (no `layers`)",
            remedy='Write a style as {"layers": [{"file": "land.geojson", "fill": "#f2efe9"}]}',
        )
    return MapStyle.parse({**content, "layers": _layers(path, content["layers"])}, where=str(path))


def layer_files(path: Path) -> dict[str, Path]:
    """Every file that a style or a bare file draws from by the name it has there, itself first. Raises as `read_style`."""
    return {path.name: path} | {layer.file: path.parent / layer.file for layer in read_style(path).layers}


def _layers(path: Path, values: Any) -> list[LayerStyle]:
    """One by one, so that messages name the layer and its keys."""
    if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
        raise ConfigError(f"The layers of {path} are no list of objects", remedy='Write "layers": [{"file": ...}, ...]')
    return [LayerStyle.parse(value, where=f"{path}, layer {number}") for number, value in enumerate(values, start=1)]
