"""`p2p draw`: the picture is the pairs' very input, and nothing is drawn over what it is drawn from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio

from p2p_core.pairstore import PairStore

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def aerial(tmp_path: Path) -> Path:
    """600 x 320 px of 0.01 degrees, so that bands of blocks are cut at its edges."""
    pixels_HWC = np.random.default_rng(0).integers(0, 256, (320, 600, 3), dtype=np.uint8)
    place = {"crs": "EPSG:4326", "transform": rasterio.Affine(0.01, 0, 10, 0, -0.01, 50)}
    path = tmp_path / "aerial.tif"
    with rasterio.open(path, "w", driver="GTiff", height=320, width=600, count=3, dtype="uint8", **place) as dataset:
        dataset.write(np.moveaxis(pixels_HWC, 2, 0))
    return path


@pytest.fixture
def style(tmp_path: Path) -> Path:
    ring = [[11, 49.5], [15, 49.6], [14, 47.3], [11.5, 47.1], [11, 49.5]]
    (tmp_path / "land.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    path = tmp_path / "style.json"
    path.write_text(json.dumps({"layers": [{"file": "land.geojson", "fill": "#f2efe9", "line": "#8d618b", "width_px": 3}]}))
    return path


def test_a_map_is_drawn_as_pairs_will_have_it(style: Path, aerial: Path, tmp_path: Path, call: Call) -> None:
    drawn = tmp_path / "map.tif"
    assert call("draw", style, aerial, drawn) == (0, f"{drawn}: 600x320 px in EPSG:4326\n", "")
    with rasterio.open(drawn) as dataset, rasterio.open(aerial) as target:
        assert (dataset.crs, dataset.transform) == (target.crs, target.transform)
        map_HWC = np.moveaxis(dataset.read(), 0, 2)
    options = ("--set", "tile_px=100", "--set", "quality.min_std=0", "--block-px", 100)
    assert call("build", "maps", style, aerial, "--out", tmp_path / "pairs", *options)[0] == 0
    store = PairStore.open(tmp_path / "pairs")
    assert len(store.pairs) == 18
    for split in (store.split(name) for name, count in store.manifest.counts.items() if count):
        for index, record in enumerate(split.records):
            assert record.window is not None
            np.testing.assert_array_equal(split.read(index)[0], map_HWC[record.window.slices])


def test_what_is_no_map_or_no_place_for_one_is_wrong_usage(style: Path, aerial: Path, tmp_path: Path, call: Call) -> None:
    before = aerial.read_bytes()
    for arguments, message in (
        ((aerial, style, tmp_path / "map.tif"), "aerial.tif is no vector map"),
        ((style, aerial, tmp_path / "map.png"), "map.png. Name another file, which ends in .tif"),
        ((style, aerial, aerial), "cannot be drawn to"),
    ):
        code, said, err = call("draw", *arguments)
        assert (code, said) == (2, "")
        assert message in err
    assert aerial.read_bytes() == before
    assert not (tmp_path / "map.tif").exists()
