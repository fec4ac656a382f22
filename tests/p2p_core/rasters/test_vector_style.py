"""Style files: what is taken, and that each mistake is named with its layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from p2p_core.errors import ConfigError, RasterError
from p2p_core.rasters.registry import open_raster, source_digest
from p2p_core.rasters.vector_style import LayerStyle, read_style

LAND = {"file": "land.geojson", "fill": "#00ff00"}


def style(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def test_a_style_lists_its_layers_from_bottom_to_top(tmp_path: Path) -> None:
    roads = {"file": "roads.topojson", "object": "roads", "where": {"class": ["a", 1]}, "line": "#ffFFff", "width_px": 2.5}
    made = read_style(style(tmp_path / "s.json", {"background": "#102030", "layers": [LAND, roads]}))
    assert made.layers == (LayerStyle.model_validate(LAND), LayerStyle.model_validate(roads))
    assert (made.background, made.antialias, made.layers[1].width_px) == ("#102030", True, 2.5)


def test_a_bare_file_is_land_with_borders_on_water(tmp_path: Path) -> None:
    (layer,) = read_style(style(tmp_path / "a.json", {"type": "Point", "coordinates": [0, 0]})).layers
    assert layer.file == "a.json"
    assert layer.fill != layer.line != read_style(tmp_path / "a.json").background


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"layer": []}, "neither GeoJSON nor TopoJSON"),
        ({"layers": {}}, "The layers of .* are no list of objects"),
        ({"layers": []}, "at least 1 item"),
        ({"layers": [LAND], "backgruond": "#000000"}, "backgruond.*Known keys are: layers, background, antialias"),
        ({"layers": [LAND], "background": "blue"}, "background"),
        ({"layers": [LAND, {**LAND, "colour": "#000000"}]}, "layer 2 is not a valid LayerStyle: colour.*Known keys are: file"),
        ({"layers": [{**LAND, "fill": "#0f0"}]}, "layer 1 .*fill"),
        ({"layers": [{**LAND, "width_px": 0}]}, "layer 1 .*width_px"),
        ({"layers": [{"file": "a.geojson"}]}, "layer 1 .*neither `fill` nor `line`"),
        ({"layers": [{**LAND, "where": {"a": {"b": 1}}}]}, "layer 1 .*where"),
        ({"layers": [{**LAND, "line": "#000000", "width_px": 0.5}], "antialias": False}, "fall apart without antialiasing"),
    ],
)
def test_a_mistake_is_named_with_its_layer_and_the_known_keys(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_style(style(tmp_path / "s.json", content))


def test_the_digest_covers_the_style_and_every_layer_and_no_place(tmp_path: Path) -> None:
    (tmp_path / "land.geojson").write_text('{"type": "Point", "coordinates": [0, 0]}')
    path = style(tmp_path / "s.json", {"layers": [LAND]})
    seen = {source_digest(path)}
    (tmp_path / "moved").mkdir()
    moved = [file.rename(tmp_path / "moved" / file.name) for file in (path, tmp_path / "land.geojson")]
    assert source_digest(moved[0]) in seen
    moved[1].write_text('{"type": "Point", "coordinates": [0, 1]}')
    seen.add(source_digest(moved[0]))
    seen.add(source_digest(style(moved[0], {"layers": [LAND], "background": "#000000"})))
    assert len(seen) == 3
    moved[1].unlink()
    with pytest.raises(RasterError, match=r"land\.geojson"):
        source_digest(moved[0])


def test_a_vector_map_alone_is_no_raster(tmp_path: Path) -> None:
    with pytest.raises(RasterError, match=r"s\.json is a vector map, which has no pixels of its own"):
        open_raster(style(tmp_path / "s.json", {"layers": [LAND]}))
