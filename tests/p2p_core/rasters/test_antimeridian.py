"""Shapes across 180 degrees and around the poles, stitched or cut, on maps of every kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2p_core.rasters.antimeridian import outlines, unrolled, whole_polygon

shapely = pytest.importorskip("shapely")

ACROSS = [[170, -10], [-175, -10], [-175, 10], [170, 10], [170, -10]]
HALVES = [
    [[170, -10], [180, -10], [180, 10], [170, 10], [170, -10]],
    [[-180, -10], [-175, -10], [-175, 10], [-180, 10], [-180, -10]],
]
CAP = [[-180, -70], *([x, -70] for x in range(-150, 180, 30)), [180, -70], [-180, -70]]


def style(path: Path, content: Any, **layer: Any) -> dict[str, Any]:
    path.write_text(json.dumps(content))
    return {"background": "#000000", "layers": [{"file": path.name, **(layer or {"fill": "#ffffff"})}]}


def topology(*rings: Any) -> dict[str, Any]:
    polygons = [{"type": "Polygon", "arcs": [[i]]} for i in range(len(rings))]
    return {"type": "Topology", "arcs": list(rings), "objects": {"a": {"type": "GeometryCollection", "geometries": polygons}}}


def polygons(*rings: Any) -> dict[str, Any]:
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in rings]}


@pytest.mark.parametrize("content", [topology(ACROSS), polygons(ACROSS), polygons(*HALVES)], ids=["topojson", "geojson", "cut"])
def test_a_shape_across_180_degrees_is_at_both_ends_of_the_world_and_nowhere_between(tmp_path, draw, content) -> None:
    drawn = draw(style(tmp_path / "a.json", content), (36, 72), (-180, -90, 180, 90))[..., 0]
    expected = np.zeros((36, 72), np.uint8)
    expected[16:20, :1] = expected[16:20, -2:] = 255
    np.testing.assert_array_equal(drawn, expected)
    pacific = draw(style(tmp_path / "a.json", content), (36, 72), (0, -90, 360, 90))[..., 0]
    np.testing.assert_array_equal(pacific, np.roll(expected, 36, axis=1))


@pytest.mark.parametrize("content", [topology(ACROSS), polygons(*HALVES)], ids=["stitched", "cut"])
def test_no_border_is_drawn_where_a_file_was_cut(tmp_path, draw, content) -> None:
    line = {"line": "#ffffff", "width_px": 1}
    drawn = draw(style(tmp_path / "a.json", content, **line), (40, 40), (160, -20, 200, 20))[..., 0]
    assert drawn[9:11, 12:23].all()
    assert not drawn[12:28, 12:23].any()  # the inside, 180 degrees in its middle
    assert drawn[12:28, 9:11].all()
    assert drawn[12:28, 24:26].all()


def test_a_utm_zone_at_180_degrees_has_one_whole_shape(tmp_path, draw) -> None:
    bounds = (700000.0, -400000.0, 1100000.0, 400000.0)  # zone 60: 180 degrees at x = 833978 on the equator
    for content in (topology(ACROSS), polygons(ACROSS), polygons(*HALVES)):
        drawn = draw(style(tmp_path / "a.json", content), (80, 40), bounds, "EPSG:32660")[..., 0]
        assert (drawn == 255).all()


@pytest.mark.parametrize("size", [64, 65])
def test_a_shape_around_a_pole_covers_the_pole(tmp_path, draw, size) -> None:
    cut = [[-180, -90], *CAP[:-1], [180, -90], [-180, -90]]
    for content in (topology(CAP), topology(cut), polygons(cut)):
        flat = draw(style(tmp_path / "a.json", content), (18, 36), (-180, -90, 180, 90))[..., 0]
        assert (flat[16:] == 255).all()
        assert not flat[:16].any()
        polar = draw(style(tmp_path / "a.json", content), (size, size), (-3e6, -3e6, 3e6, 3e6), "EPSG:3031")[..., 0]
        y, x = np.mgrid[:size, :size] - (size - 1) / 2
        from_pole_m = np.hypot(y, x) * 6e6 / size
        assert (polar[from_pole_m < 1.9e6] == 255).all()  # edges of 30 degrees of longitude: parallels, so circles
        assert not polar[from_pole_m > 2.4e6].any()
        outline = style(tmp_path / "a.json", content, line="#ffffff", width_px=1)
        rim = draw(outline, (size, size), (-3e6, -3e6, 3e6, 3e6), "EPSG:3031")[..., 0]
        assert not rim[from_pole_m < 1.9e6].any()


def test_the_whole_world_in_mercator_has_no_streaks(tmp_path, draw) -> None:
    edge = 20037508.342789244
    drawn = draw(style(tmp_path / "a.json", topology(ACROSS, CAP)), (256, 256), (-edge, -edge, edge, edge), "EPSG:3857")[..., 0]
    assert not drawn[:, 20:230][:190].any()  # from 60 south to the north, away from 180 degrees
    assert (drawn[125:131, [0, -1]] == 255).all()
    assert (drawn[-20:] == 255).all()


def test_an_oval_world_is_drawn_to_its_rim(tmp_path, draw) -> None:
    content = style(tmp_path / "a.json", polygons([[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]))
    drawn = draw(content, (90, 180), (-18040096, -9020048, 18040096, 9020048), "ESRI:54009")[..., 0]
    y, x = (np.mgrid[:90, :180] + 0.5 - np.array([45, 90])[:, None, None]) / np.array([45, 90])[:, None, None]
    assert (drawn[np.hypot(y, x) < 0.97] == 255).all()
    assert not drawn[np.hypot(y, x) > 1.03].any()


def test_a_world_map_of_one_box_stays_a_box() -> None:
    box = np.array([[-180, -80], [180, -80], [180, 80], [-180, 80], [-180, -80]], float)
    np.testing.assert_array_equal(unrolled(box, np.zeros(5, int), stitched=False), box)
    assert whole_polygon(shapely.Polygon(box), stitched=False).area == 360 * 160


def test_parts_are_unrolled_each_from_where_it_begins() -> None:
    positions = np.array([[179, 0], [-179, 1], [179, 2], [-179, 3], [-178, 4], [179, 5]], float)
    x = unrolled(positions, np.array([0, 0, 0, 1, 1, 1]), stitched=True)[:, 0]
    assert x.tolist() == [179, 181, 179, -179, -178, -181]


def test_a_hole_follows_its_shell_past_180_degrees() -> None:
    hole = [[-178, -5], [-178, 5], [-176, 5], [-176, -5], [-178, -5]]
    whole = whole_polygon(shapely.Polygon(ACROSS, [hole]), stitched=True)
    assert whole.bounds == (170, -10, 185, 10)
    assert whole.area == 15 * 20 - 2 * 10
    assert whole.is_valid


def test_outlines_leave_out_what_lies_along_a_cut() -> None:
    made = outlines([shapely.LinearRing(HALVES[0])], stitched=False)
    assert sum(line.length for line in made) == 10 + 10 + 20
    assert len(outlines([], stitched=True)) == 0
