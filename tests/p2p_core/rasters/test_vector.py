"""Drawn maps: exact pixels of small shapes, and pixels that know their place alone."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio.features
import rasterio.warp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from p2p_core.errors import ConfigError, RasterError, SizeMismatchError
from p2p_core.geometry import Window
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster
from p2p_core.rasters.vector import open_vector

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
FILL = {"fill": "#ffffff"}
LINE = {"line": "#ffffff", "width_px": 2}


def square(west: float, south: float, east: float, north: float) -> list[list[float]]:
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]


def polygon(*rings: list[list[float]]) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def line(*positions: tuple[float, float]) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": list(positions)}


@pytest.fixture
def one(tmp_path: Path, save_geojson: Callable[..., Path]) -> Callable[..., dict[str, Any]]:
    """`one(*geometries, crs=None, **layer)`: a style of one layer, white on black."""

    def make(*geometries: Any, crs: str | None = None, **layer: Any) -> dict[str, Any]:
        save_geojson(tmp_path / "one.geojson", *geometries, crs=crs)
        return {"background": "#000000", "layers": [{"file": "one.geojson", **layer}]}

    return make


def test_a_square_on_the_grid_is_exactly_its_pixels(one, draw) -> None:
    expected = np.zeros((8, 8, 3), np.uint8)
    expected[2:6, 1:4] = 255  # 8 rows from the north: latitudes 2 to 6 are rows 2 to 5
    for antialias in (True, False):
        drawn = draw({**one(polygon(square(1, 2, 4, 6)), **FILL), "antialias": antialias})
        np.testing.assert_array_equal(drawn, expected)


def test_an_edge_through_pixels_covers_its_share_of_them(one, draw) -> None:
    drawn = draw(one(polygon(square(1.5, 2.25, 4, 6)), **FILL))[..., 0]
    assert drawn[3, 1] == round(255 / 2)
    assert drawn[5, 2] == round(255 * 3 / 4)
    assert drawn[5, 1] == round(255 * 3 / 8)
    assert (drawn[2:5, 2:4] == 255).all()


def test_holes_and_shapes_in_holes_are_what_they_are(one, draw) -> None:
    island = {"type": "MultiPolygon", "coordinates": [[square(0, 0, 8, 8), square(1, 1, 7, 7)], [square(3, 3, 5, 5)]]}
    drawn = draw(one(island, **FILL))[..., 0]
    expected = np.full((8, 8), 255, np.uint8)
    expected[1:7, 1:7] = 0
    expected[3:5, 3:5] = 255
    np.testing.assert_array_equal(drawn, expected)


def test_a_line_has_its_width_and_ends_round(one, draw) -> None:
    drawn = draw(one(line((2, 4), (6, 4)), **LINE))[..., 0]
    assert (drawn[3:5, 2:6] == 255).all()
    assert not drawn[:3].any()
    assert not drawn[5:].any()
    ends = drawn[3:5, [1, 6]]
    assert (ends == ends[0, 0]).all()
    assert abs(int(ends[0, 0]) - 255 * np.pi / 4) < 20  # a quarter of a disc of radius 1 px


def test_an_outline_lies_on_the_border_and_a_point_is_a_dot(one, draw) -> None:
    outline = draw(one(polygon(square(2, 2, 6, 6)), line="#ffffff", width_px=2))[..., 0]
    assert (outline[1:3, 2:6] == 255).all()
    assert not outline[3:5, 3:5].any()
    dot = draw(one({"type": "Point", "coordinates": [4, 4]}, line="#ffffff", width_px=4))[..., 0]
    np.testing.assert_array_equal(dot, dot[::-1, ::-1])
    assert abs(dot.sum() / 255 - 4 * np.pi) < 0.3


def test_later_layers_lie_over_earlier_ones_and_filters_choose_features(tmp_path, save_geojson, draw) -> None:
    def named(name: object, *bounds: float) -> dict[str, Any]:
        return {"type": "Feature", "properties": {"name": name}, "geometry": polygon(square(*bounds))}

    save_geojson(tmp_path / "a.geojson", named("low", 0, 0, 4, 8), named(1, 4, 0, 8, 4), named(True, 4, 4, 8, 8))
    layers = [
        {"file": "a.geojson", "where": {"name": ["low", 1]}, "fill": "#ff0000"},
        {"file": "a.geojson", "where": {"name": True}, "fill": "#00ff00"},
        {"file": "a.geojson", "where": {"name": "low"}, "fill": "#0000ff"},
    ]
    drawn = draw({"background": "#000000", "layers": layers})
    assert [tuple(drawn[y, x]) for y, x in ((0, 0), (7, 7), (0, 7))] == [(0, 0, 255), (255, 0, 0), (0, 255, 0)]
    with pytest.raises(ConfigError, match=r"has a property 'nmae'\. Filter by one of: name"):
        draw({"layers": [{**layers[0], "where": {"nmae": "low"}}]})
    with pytest.raises(ConfigError, match=r"None of the 3 features of .*a\.geojson fits"):
        draw({"layers": [{**layers[0], "where": {"name": "high"}}]})


def test_an_outline_that_crosses_itself_encloses_both_its_halves(one, draw) -> None:
    bow = draw(one(polygon([[0, 0], [8, 8], [8, 0], [0, 8], [0, 0]]), **FILL))[..., 0]
    assert bow[4, 0] == bow[4, 7] == 255
    assert bow[0, 4] == bow[7, 4] == 0


def test_without_antialiasing_there_are_no_other_colours(one, draw) -> None:
    style = {
        **one(polygon([[0.3, 0.1], [7.7, 2.2], [3.1, 7.9], [0.3, 0.1]]), fill="#0a141e", line="#ff0000"),
        "antialias": False,
    }
    assert {tuple(pixel) for pixel in draw(style).reshape(-1, 3)} == {(0, 0, 0), (10, 20, 30), (255, 0, 0)}


def test_a_reprojected_shape_is_where_rasterio_puts_it(one, draw) -> None:
    """Degrees to UTM, against GDAL's own warp of the densely sampled outline."""
    ring = square(-76.5, 44.6, -73.5, 45.4)
    bounds = (370000.0, 4930000.0, 630000.0, 5040000.0)
    drawn = draw({**one(polygon(ring), **FILL), "antialias": False}, (550, 1300), bounds, "EPSG:32618")[..., 0]
    dense = [
        [x0 + (x1 - x0) * t, y0 + (y1 - y0) * t]
        for (x0, y0), (x1, y1) in pairwise(ring)
        for t in np.linspace(0, 1, 200, endpoint=False)
    ]
    shape = rasterio.warp.transform_geom("EPSG:4326", "EPSG:32618", polygon([*dense, dense[0]]))
    transform = rasterio.Affine(200, 0, 370000, 0, -200, 5040000)
    expected = rasterio.features.rasterize([shape], (550, 1300), transform=transform, default_value=255)
    assert 0.2 < (expected == 255).mean() < 0.9
    assert (drawn != expected).mean() < 2e-5
    straight = rasterio.warp.transform_geom("EPSG:4326", "EPSG:32618", polygon(ring))
    naive = rasterio.features.rasterize([straight], (550, 1300), transform=transform, default_value=255)
    assert (naive != expected).mean() > 1e-3  # parallels are curves there: edges that stay straight would be seen


def test_a_declared_crs_needs_no_detour(one, draw) -> None:
    bounds = (500000.0, 4000000.0, 500008.0, 4000008.0)
    metres = one(polygon(square(500001, 4000002, 500004, 4000006)), crs="EPSG:32618", **FILL)
    drawn = draw(metres, (8, 8), bounds, "EPSG:32618")[..., 0]
    assert set(zip(*np.nonzero(drawn), strict=True)) == {(y, x) for y in range(2, 6) for x in range(1, 4)}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, NDArray[np.uint8]]:
    """600x700 px of many crossing shapes and lines, in degrees on a UTM target: (style, target, the whole map)."""
    root = tmp_path_factory.mktemp("scene")
    rng = np.random.default_rng(5)
    centres = rng.uniform((-75.1, 44.95), (-74.9, 45.05), (60, 2))
    stars = [polygon([*(star := (c + rng.normal(0, 0.01, (7, 2))).tolist()), star[0]]) for c in centres]
    roads = [line(*map(tuple, rng.uniform((-75.1, 44.95), (-74.9, 45.05), (3, 2)))) for _ in range(30)]
    for name, shapes in (("stars", stars), ("roads", roads)):
        (root / f"{name}.geojson").write_text(json.dumps({"type": "GeometryCollection", "geometries": shapes}))
    layers = [
        {"file": "stars.geojson", "fill": "#dd8833", "line": "#102030", "width_px": 1.5},
        {"file": "roads.geojson", "line": "#f0f0ff", "width_px": 9},
    ]
    (root / "style.json").write_text(json.dumps({"layers": layers}))
    transform = rasterio.Affine(14.3, 0, 495000, 0, -14.3, 4988571.5)
    shape = {"width": 700, "height": 600, "count": 1, "dtype": "uint8", "transform": transform, "crs": "EPSG:32618"}
    with rasterio.open(root / "target.tif", "w", driver="GTiff", **shape) as dataset:
        dataset.write(np.zeros((1, 600, 700), np.uint8))
    with open_raster(root / "target.tif") as raster, open_vector(root / "style.json", raster) as drawn:
        return root / "style.json", root / "target.tif", drawn.read(full_window(drawn))


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_window_drawn_alone_is_the_crop_of_the_whole(scene, data: st.DataObject) -> None:
    style, target, whole = scene
    y, x = data.draw(st.integers(0, 599)), data.draw(st.integers(0, 699))
    window = Window(y, x, data.draw(st.integers(0, 600 - y)), data.draw(st.integers(0, 700 - x)))
    with open_raster(target) as raster, open_vector(style, raster) as alone:
        np.testing.assert_array_equal(alone.read(window), whole[window.slices])


def test_cells_meet_without_a_seam(scene) -> None:
    """Everything again by one call of GDAL at four samples a pixel, without cells."""
    style, target, whole = scene
    with open_raster(target) as raster, open_vector(style, raster) as drawn:
        paint = np.zeros((2400, 2800), np.uint8)
        to_pixels = rasterio.Affine.scale(0.25)
        for number, one in enumerate(drawn._paints, start=1):
            shapes = one.shapes.geometries
            if one.width_px is not None:
                shapes = [shape.buffer(one.width_px / 2, quad_segs=4) for shape in shapes]
            rasterio.features.rasterize(shapes, out=paint, transform=to_pixels, default_value=number)
    at_once = drawn.colours[paint].reshape(600, 4, 700, 4, 3).mean(axis=(1, 3))
    off = np.abs(whole - at_once)
    assert off.max() <= 16  # a sample on an edge may fall to either side: one of 16, of 255 at most
    assert (off > 0.5).mean() < 1e-4


def test_maps_of_other_ground_are_refused_with_both_extents(one, draw, tmp_path, noise) -> None:
    with pytest.raises(
        SizeMismatchError, match=r"\(0, 0, 8, 8\) of EPSG:4326: one\.geojson covers \(20, 30, 21, 31\) of EPSG:4326"
    ):
        draw(one(polygon(square(20, 30, 21, 31)), **FILL))
    Image.fromarray(noise(8, 8, 3)).save(tmp_path / "plain.png")
    with open_raster(tmp_path / "plain.png") as raster, pytest.raises(RasterError, match="has no place on the Earth"):
        open_vector(tmp_path / "one.geojson", raster)


def test_a_changed_layer_is_drawn_anew_in_the_same_process(tmp_path, save_geojson, draw) -> None:
    save_geojson(tmp_path / "a.geojson", polygon(square(0, 0, 4, 8)))
    first = draw(tmp_path / "a.geojson")
    before = (tmp_path / "a.geojson").stat()
    save_geojson(tmp_path / "a.geojson", polygon(square(0, 0, 5, 8)))
    os.utime(tmp_path / "a.geojson", ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    assert not np.array_equal(draw(tmp_path / "a.geojson"), first)
