"""Vector maps in the maps builder: on either side, of any CRS, rebuilt when a layer changes, in palettes."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, RasterError, SizeMismatchError, UsageError
from p2p_core.rasters.registry import open_raster
from preprocessing.build import build_dataset
from preprocessing.maps import MapsBuilder, MapsParameters, WaterRule
from preprocessing.pairs import Pair, Rejected
from preprocessing.split import NameSplit

STYLE = {
    "background": "#0000ff",
    "antialias": False,
    "layers": [{"file": "land.geojson", "fill": "#00ff00"}, {"file": "road.json", "object": "roads", "line": "#ff0000"}],
}
PALETTE = "0000ff-00ff00-ff0000"


def parameters(**values: object) -> MapsParameters:
    """Tiles of one colour stay: drawn maps have many."""
    return MapsParameters.model_validate({"tile_px": 16, "source_px": 32, "quality": {"min_std": 0}, **values})


def save_land(path: Path, east: float) -> Path:
    ring = [[0, 0], [east, 0], [east, 60], [0, 60], [0, 0]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return path


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """A style: land west of 13 degrees, a road along 48 north, sea in the east."""
    save_land(tmp_path / "land.geojson", 13)
    road = {"type": "LineString", "arcs": [0]}
    (tmp_path / "road.json").write_text(
        json.dumps({"type": "Topology", "arcs": [[[0, 48], [20, 48]]], "objects": {"roads": road, "paths": road}})
    )
    (tmp_path / "style.json").write_text(json.dumps(STYLE))
    return tmp_path / "style.json"


@pytest.fixture
def aerial(tmp_path: Path, picture, save_geotiff) -> Path:
    """48 x 64 px from 10 east, 50 north; 0.1 degrees each."""
    return save_geotiff(tmp_path / "aerial.tif", picture(48, 64, 2))


def pairs(builder: MapsBuilder) -> dict[str, Pair]:
    found = [outcome for source in builder.sources() for outcome in builder.build(source)]
    assert all(isinstance(one, Pair) for one in found), found
    return {one.pair_id: one for one in found if isinstance(one, Pair)}


def test_pairs_are_the_map_on_the_rasters_grid_and_the_raster(drawing, aerial, picture) -> None:
    made = pairs(MapsBuilder((drawing, aerial), parameters(source_px=16)))
    whole = np.full((48, 64, 3), (0, 0, 255), np.uint8)
    whole[:, :30] = (0, 255, 0)
    whole[19:21] = (255, 0, 0)  # a line of 1 px whose edges are the centres of two rows takes both or one
    assert len(made) == 12
    for pair in made.values():
        assert pair.window is not None
        rows = np.arange(48)[pair.window.slices[0]]
        away = ~np.isin(rows, (19, 20))
        np.testing.assert_array_equal(pair.input_HWC[away], whole[pair.window.slices][away])
        np.testing.assert_array_equal(pair.target_HWC, picture(48, 64, 2)[pair.window.slices])
    assert (made["y0000016_x0000016"].input_HWC[3:5] == (255, 0, 0)).all(axis=-1).any()


def test_a_vector_target_takes_the_inputs_grid(drawing, aerial) -> None:
    there = pairs(MapsBuilder((drawing, aerial), parameters()))
    back = pairs(MapsBuilder((aerial, drawing), parameters()))
    assert there.keys() == back.keys()
    for name, pair in there.items():
        np.testing.assert_array_equal(pair.input_HWC, back[name].target_HWC)
        np.testing.assert_array_equal(pair.target_HWC, back[name].input_HWC)
    with pytest.raises(UsageError, match="both vector maps, which have no grid"):
        MapsBuilder((drawing, drawing), parameters()).sources()


def test_tiles_do_not_depend_on_bounds_sources_or_the_worker(drawing, aerial) -> None:
    smooth = {**STYLE, "antialias": True}
    drawing.write_text(json.dumps(smooth))
    whole = pairs(MapsBuilder((drawing, aerial), parameters(stride_px=4)))
    part = pairs(
        pickle.loads(
            pickle.dumps(MapsBuilder((drawing, aerial), parameters(stride_px=4, source_px=8, bounds=(11.2, 45.2, 16, 48.8))))
        )
    )
    shared = {one.window: one for one in whole.values()}
    compared = [(one, shared[one.window]) for one in part.values() if one.window in shared]
    assert len(compared) > 10
    for one, other in compared:
        np.testing.assert_array_equal(one.input_HWC, other.input_HWC)


def test_an_edited_layer_is_built_anew_and_nothing_else(drawing, aerial, tmp_path) -> None:
    def build() -> Any:
        return build_dataset(MapsBuilder((drawing, aerial), parameters()), tmp_path / "store", NameSplit())

    assert build().num_buckets_built > 0
    assert build().unchanged
    save_land(tmp_path / "land.geojson", 14)
    assert build().num_buckets_built > 0
    save_land(tmp_path / "land.geojson", 13)
    again = build()
    assert (again.num_buckets_built, again.unchanged) == (0, False)


@pytest.mark.parametrize("kind", ["palette", "one_hot"])
def test_a_map_without_antialiasing_may_be_a_palette(drawing, aerial, kind) -> None:
    name = f"{kind}:{PALETTE}"
    for pair in pairs(MapsBuilder((drawing, aerial), parameters(input_encoding=name))).values():
        np.testing.assert_array_equal(encoding(name).of_rgb(pair.input_HWC), pair.input_HWC)


def test_palettes_that_would_be_blended_or_have_other_colours_are_refused(drawing, aerial) -> None:
    name = f"one_hot:{PALETTE}"
    with pytest.raises(ConfigError, match=r"aerial\.tif cannot be encoded as .*resampled, which blends colours"):
        MapsBuilder((drawing, aerial), parameters(target_encoding=name))
    with pytest.raises(ConfigError, match=r"style\.json draws in #ff0000, which is no colour of"):
        MapsBuilder((drawing, aerial), parameters(input_encoding="palette:0000ff-00ff00")).sources()
    drawing.write_text(json.dumps({**STYLE, "antialias": True}))
    with pytest.raises(ConfigError, match=r'antialiasing.*Write "antialias": false'):
        MapsBuilder((drawing, aerial), parameters(input_encoding=name)).sources()


def test_open_sea_is_left_out_by_the_rule_for_water(drawing, aerial) -> None:
    builder = MapsBuilder((drawing, aerial), parameters(water=WaterRule()))
    found = [outcome for source in builder.sources() for outcome in builder.build(source)]
    sea = {one.item for one in found if isinstance(one, Rejected) and one.reason == "ocean_only"}
    assert sea == {f"y{y:07d}_x{x:07d}" for y in (0, 32) for x in (32, 48)}


def test_what_cannot_be_drawn_is_said_before_anything_is_built(
    drawing, aerial, tmp_path, picture, save_picture, save_geotiff
) -> None:
    def sources(*paths: Path) -> None:
        MapsBuilder(paths, parameters()).sources()

    plain = save_picture(tmp_path / "plain.png", picture(48, 64, 2))
    with pytest.raises(RasterError, match=r"plain\.png has no place on the Earth"):
        sources(drawing, plain)
    far = save_geotiff(tmp_path / "far.tif", picture(48, 64, 2), west=100)
    with pytest.raises(SizeMismatchError, match=r"style\.json draws nothing on the ground of .*far\.tif"):
        sources(drawing, far)
    style = json.loads(drawing.read_text())
    style["layers"][1]["object"] = "rivers"
    drawing.write_text(json.dumps(style))
    with pytest.raises(RasterError, match=r"road\.json has no object 'rivers'\. Choose one of: roads, paths"):
        sources(drawing, aerial)
    (tmp_path / "land.geojson").unlink()
    with pytest.raises(RasterError, match=r"land\.geojson does not exist"):
        sources(drawing, aerial)


def test_a_map_in_another_crs_than_the_raster_is_drawn_where_it_lies(drawing, tmp_path, picture, save_geotiff) -> None:
    """UTM zone 33: the land's edge, 13 degrees east, is 2 degrees west of its middle."""
    utm = save_geotiff(tmp_path / "utm.tif", picture(48, 64, 2), crs="EPSG:32633", west=320000.0, north=5300000.0, pixel=1000.0)
    with open_raster(utm) as raster:
        assert raster.crs == "EPSG:32633"
    (pair,) = pairs(MapsBuilder((drawing, utm), parameters(tile_px=48))).values()
    is_land = (pair.input_HWC == (0, 255, 0)).all(axis=-1)
    edges = is_land.sum(axis=1)
    # 13 E at 47.85 N and 47.4 N by PROJ: x = 350380 and 349090 m
    assert edges[0] in (30, 31)
    assert edges[-1] in (29, 30)
