"""Pairs of two XYZ trees, address by address."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from p2p_core.errors import ConfigError, EmptySourceError, RasterError, SizeMismatchError
from p2p_core.geometry import Window
from p2p_core.pairstore.reader import PairStore
from p2p_core.rasters.grid import Bounds
from p2p_core.rasters.mercator import TileAddress, tile_bounds_m
from p2p_core.rasters.xyz import tile_path
from preprocessing.build import build_dataset
from preprocessing.builders import BUILDERS
from preprocessing.gaps import smallest_gap_px
from preprocessing.latitude import latitude_split
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.split import BlockSplit, NameSplit
from preprocessing.tiles import TilesBuilder

ZOOM = 12
COLUMNS, ROWS = range(2100, 2112), range(1400, 1410)


def parameters(**values: object) -> MapsParameters:
    return MapsParameters.model_validate({"tile_px": 16, "source_px": 64, **values})


def write_tree(root: Path, picture, seed: int, columns: range = COLUMNS, rows: range = ROWS, tile_px: int = 16) -> Path:
    """Noise, another in every tile of every seed."""
    for x in columns:
        for y in rows:
            path = tile_path(root, TileAddress(ZOOM, x, y))
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(tile_px, tile_px, seed * 1_000_000 + x * 997 + y)).save(path)
    return root


def outcomes(builder: TilesBuilder) -> dict[str, Outcome]:
    """By address; also checks what builders promise of order and numbers."""
    found: dict[str, Outcome] = {}
    for source in builder.sources():
        of_source = list(builder.build(source))
        ids = [o.pair_id if isinstance(o, Pair) else o.item for o in of_source]
        assert ids == sorted(ids)
        assert sum(isinstance(o, Pair) for o in of_source) <= source.max_pairs
        found |= dict(zip(ids, of_source, strict=True))
    return found


@pytest.fixture
def trees(tmp_path: Path, picture) -> tuple[Path, Path]:
    return write_tree(tmp_path / "osm", picture, 1), write_tree(tmp_path / "aerial", picture, 2)


def tile_of(root: Path, x: int, y: int) -> Path:
    return tile_path(root, TileAddress(ZOOM, x, y))


def test_every_address_that_both_trees_have_is_a_pair_of_its_two_tiles(trees) -> None:
    found = outcomes(TilesBuilder(trees, parameters()))
    assert found.keys() == {f"{ZOOM}/{x}/{y}" for x in COLUMNS for y in ROWS}
    for x, y in ((2100, 1400), (2111, 1409), (2107, 1403)):
        pair = found[f"{ZOOM}/{x}/{y}"]
        assert isinstance(pair, Pair)
        np.testing.assert_array_equal(pair.input_HWC, np.asarray(Image.open(tile_of(trees[0], x, y))))
        np.testing.assert_array_equal(pair.target_HWC, np.asarray(Image.open(tile_of(trees[1], x, y))))
        assert pair.window == Window(y * 16, x * 16, 16, 16)


def test_two_trees_are_paired_by_address_and_anything_else_by_ground(tmp_path, trees, picture, save_geotiff) -> None:
    make = BUILDERS["maps"].make
    raster = save_geotiff(tmp_path / "a.tif", picture(32, 32, 1))
    assert isinstance(make(trees, parameters()), TilesBuilder)
    assert isinstance(make((raster, raster), parameters()), MapsBuilder)
    assert isinstance(make((raster, trees[1]), parameters()), MapsBuilder)


def test_an_address_that_one_tree_lacks_is_rejected_and_names_the_tree_that_has_it(tmp_path, picture) -> None:
    """The trees overlap like two sheets of paper, and each has a hole besides."""
    trees = (
        write_tree(tmp_path / "osm", picture, 1, columns=range(2100, 2106)),
        write_tree(tmp_path / "aerial", picture, 2, columns=range(2103, 2112), rows=range(1402, 1412)),
    )
    tile_of(trees[0], 2104, 1405).unlink()
    tile_of(trees[1], 2105, 1406).unlink()
    has_input = {(x, y) for x in range(2100, 2106) for y in ROWS} - {(2104, 1405)}
    has_target = {(x, y) for x in range(2103, 2112) for y in range(1402, 1412)} - {(2105, 1406)}
    found = outcomes(TilesBuilder(trees, parameters()))
    kinds = {
        "missing_target": has_input - has_target,
        "missing_input": has_target - has_input,
        "pair": has_input & has_target,
    }
    for kind, places in kinds.items():
        names = {item for item, o in found.items() if (o.reason if isinstance(o, Rejected) else "pair") == kind}
        assert names == {f"{ZOOM}/{x}/{y}" for x, y in places}
    hole = found[f"{ZOOM}/2104/1405"]
    assert isinstance(hole, Rejected)
    assert hole.detail == f"input/osm and target/aerial: only the target has {ZOOM}/2104/1405"
    assert hole.window == Window(1405 * 16, 2104 * 16, 16, 16)


def test_a_split_by_block_keeps_its_buffer_in_tiles_and_the_table_proves_it(tmp_path, trees) -> None:
    builder = TilesBuilder(trees, parameters())
    assert builder.area() == Window(1400 * 16, 2100 * 16, 160, 192)
    rule = BlockSplit(area=builder.area(), block_px=4 * 16, buffer_px=16)
    made = build_dataset(builder, tmp_path / "pairs", rule)
    pairs = PairStore.open(tmp_path / "pairs").pairs
    assert smallest_gap_px(pairs) == 2 * 16
    assert min(made.counts.values()) > 0
    assert made.counts["train"] + made.counts["val"] + made.counts["test"] + made.rejected["buffer"] == 120
    for record in pairs:
        assert record.window is not None
        row, column = (record.window.y_px - 1400 * 16) // 64, (record.window.x_px - 2100 * 16) // 64
        assert rule.block_splits[row, column] == record.split


def test_a_split_by_latitude_puts_small_y_into_train_and_great_y_into_test(trees) -> None:
    builder = TilesBuilder(trees, parameters())
    rule = latitude_split(builder, buffer_px=0)
    splits = [rule.split_of(Window(y * 16, 2100 * 16, 16, 16)) for y in ROWS]
    assert splits == ["train"] * 4 + ["val"] + ["test"] * 5


def test_a_changed_tile_costs_its_block_and_growing_a_tree_moves_nothing(tmp_path, trees, picture) -> None:
    builder = TilesBuilder(trees, parameters())
    rule = NameSplit()
    first = build_dataset(builder, tmp_path / "pairs", rule)
    kept = {source.source_id: source for source in builder.sources()}
    Image.fromarray(picture(16, 16, 77)).save(tile_of(trees[0], 2105, 1405))
    assert {s.source_id for s in builder.sources() if kept[s.source_id] != s} == {"z12_y0000351_x0000526"}
    second = build_dataset(builder, tmp_path / "pairs", rule)
    assert second.num_buckets_built == 1
    assert second.digest != first.digest
    for tree, seed in zip(trees, (3, 4), strict=True):
        write_tree(tree, picture, seed, columns=range(2096, 2100))
    assert all(kept[s.source_id] == s for s in builder.sources() if s.source_id in kept and not s.source_id.endswith("0526"))
    third = build_dataset(builder, tmp_path / "pairs", rule)
    assert third.counts["train"] + third.counts["val"] + third.counts["test"] == 160


def test_damaged_misfit_and_transparent_tiles_are_rejected_one_by_one(tmp_path, trees, picture) -> None:
    tile_of(trees[0], 2100, 1400).write_bytes(tile_of(trees[0], 2100, 1400).read_bytes()[:60])
    tile_of(trees[1], 2101, 1400).write_bytes(b"")
    Image.fromarray(picture(17, 17, 1)).save(tile_of(trees[1], 2102, 1400))
    rgba = np.dstack([picture(16, 16, 5), np.full((16, 16), 255, np.uint8)])
    Image.fromarray(rgba).save(tile_of(trees[1], 2103, 1400))
    holed = rgba.copy()
    holed[:4, :, 3] = 0
    Image.fromarray(holed).save(tile_of(trees[1], 2104, 1400))
    Image.new("RGB", (16, 16), (9, 9, 9)).save(tile_of(trees[0], 2105, 1400))
    found = outcomes(TilesBuilder(trees, parameters()))
    reasons = {item: o.reason for item, o in found.items() if isinstance(o, Rejected)}
    assert reasons == {
        f"{ZOOM}/2100/1400": "truncated",
        f"{ZOOM}/2101/1400": "empty",
        f"{ZOOM}/2102/1400": "misfit",
        f"{ZOOM}/2104/1400": "nodata",
        f"{ZOOM}/2105/1400": "uniform",
    }
    opaque = found[f"{ZOOM}/2103/1400"]
    assert isinstance(opaque, Pair)
    np.testing.assert_array_equal(opaque.target_HWC, rgba[..., :3])
    assert all(str(tmp_path) not in o.detail for o in found.values() if isinstance(o, Rejected))
    lenient = outcomes(TilesBuilder(trees, parameters(max_nodata_fraction=0.3)))[f"{ZOOM}/2104/1400"]
    assert isinstance(lenient, Pair)
    assert not lenient.target_HWC[:4].any()
    np.testing.assert_array_equal(lenient.target_HWC[4:], rgba[4:, :, :3])


def test_gray_and_palette_tiles_become_rgb_and_colour_does_not_become_gray(trees, picture) -> None:
    gray = picture(16, 16, 8, bands=1)[..., 0]
    Image.fromarray(gray).save(tile_of(trees[0], 2100, 1400))
    Image.fromarray(picture(16, 16, 9)).quantize(12).save(tile_of(trees[0], 2101, 1400))
    found = outcomes(TilesBuilder(trees, parameters()))
    first, second = found[f"{ZOOM}/2100/1400"], found[f"{ZOOM}/2101/1400"]
    assert isinstance(first, Pair)
    assert isinstance(second, Pair)
    np.testing.assert_array_equal(first.input_HWC, np.repeat(gray[..., None], 3, axis=2))
    assert second.input_HWC.shape == (16, 16, 3)
    as_gray = outcomes(TilesBuilder(trees, parameters(input_encoding="gray")))
    assert Counter(o.reason for o in as_gray.values() if isinstance(o, Rejected)) == {"misfit": 119}


def test_larger_tiles_of_the_input_are_resized_to_the_targets(tmp_path, trees, picture) -> None:
    fine = write_tree(tmp_path / "fine", picture, 5, tile_px=32)
    pair = outcomes(TilesBuilder((fine, trees[1]), parameters()))[f"{ZOOM}/2103/1404"]
    assert isinstance(pair, Pair)
    mean = np.asarray(Image.open(tile_of(fine, 2103, 1404))).reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(pair.input_HWC - mean).max() <= 0.5
    with pytest.raises(ConfigError, match=r"The tiles of .*fine are 32 px, not 16.*--set tile_px=32"):
        TilesBuilder((trees[0], fine), parameters()).sources()


def test_bounds_keep_the_tiles_that_lie_inside_them(trees) -> None:
    west, _, _, north = tile_bounds_m(TileAddress(ZOOM, 2102, 1403))
    _, south, east, _ = tile_bounds_m(TileAddress(ZOOM, 2105, 1404))
    bounds = Bounds(west, south - 10, east + 10, north)
    builder = TilesBuilder(trees, parameters(bounds=bounds))
    assert outcomes(builder).keys() == {f"{ZOOM}/{x}/{y}" for x in range(2102, 2106) for y in (1403, 1404)}
    assert builder.area() == Window(1403 * 16, 2102 * 16, 32, 64)
    assert builder.window_around(Bounds(west, south, east, north)) == builder.area()


def test_trees_that_do_not_fit_are_refused_with_the_remedy(tmp_path, trees, picture) -> None:
    flipped = write_tree(tmp_path / "tms", picture, 3, rows=range(2**ZOOM - 1410, 2**ZOOM - 1400))
    with pytest.raises(SizeMismatchError, match=r"tms .*no address in common.*counts y from the south"):
        TilesBuilder((flipped, trees[1]), parameters()).sources()
    elsewhere = write_tree(tmp_path / "elsewhere", picture, 3, columns=range(10, 12), rows=range(10, 12))
    with pytest.raises(SizeMismatchError, match=r"elsewhere .*no address in common.*same ground"):
        TilesBuilder((trees[0], elsewhere), parameters()).sources()
    with pytest.raises(ConfigError, match="no other stride"):
        TilesBuilder(trees, parameters(stride_px=8))
    (trees[0] / "13" / "5").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"osm holds the zooms 12, 13.*zoom=N"):
        TilesBuilder(trees, parameters()).sources()
    assert len(outcomes(TilesBuilder(trees, parameters(zoom=12)))) == 120
    with pytest.raises(ConfigError, match=r"aerial has no zoom 13"):
        TilesBuilder(trees, parameters(zoom=13)).sources()
    (trees[0] / "12").rename(trees[0] / "11")
    (trees[0] / "13" / "5").rmdir()
    (trees[0] / "13").rmdir()
    with pytest.raises(SizeMismatchError, match=r"osm has tiles of zoom 11, .*aerial of zoom 12"):
        TilesBuilder(trees, parameters()).sources()


def test_a_tree_none_of_whose_tiles_can_be_read_is_refused(trees) -> None:
    for path in trees[0].rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(EmptySourceError, match=r"None of 120 tiles can be read, .*osm"):
        TilesBuilder(trees, parameters()).sources()


def test_a_builder_of_tiles_goes_to_a_worker(trees) -> None:
    builder = TilesBuilder(trees, parameters())
    sources = pickle.loads(pickle.dumps(builder.sources()))
    assert [len(list(pickle.loads(pickle.dumps(builder)).build(source))) for source in sources] == [
        len(source.tiles) for source in builder.sources()
    ]


def test_a_geotiff_onto_a_tree_with_a_hole_rejects_the_hole(tmp_path, trees, picture, save_geotiff) -> None:
    west, _, _, north = tile_bounds_m(TileAddress(ZOOM, 2099, 1399))
    pixel = 2 * (tile_bounds_m(TileAddress(ZOOM, 0, 0)).east - tile_bounds_m(TileAddress(ZOOM, 0, 0)).west) / 16
    raster = save_geotiff(tmp_path / "m.tif", picture(120, 120, 6), crs="EPSG:3857", west=west, north=north, pixel=pixel)
    tile_of(trees[1], 2104, 1405).unlink()
    builder = MapsBuilder((raster, trees[1]), parameters())
    found = [o for source in builder.sources() for o in builder.build(source)]
    rejected = [o for o in found if isinstance(o, Rejected)]
    assert len(found) == 120
    assert [(o.reason, o.detail, o.window) for o in rejected] == [
        ("missing_target", f"target/aerial has no tile {ZOOM}/2104/1405", Window(5 * 16, 4 * 16, 16, 16))
    ]
    with pytest.raises(SizeMismatchError, match=r"osm .* covers .* not all of .*m\.tif"):
        MapsBuilder((trees[0], raster), parameters()).sources()
    with pytest.raises(ConfigError, match=r"m\.tif has no zooms to choose from"):
        MapsBuilder((raster, raster), parameters(zoom=3)).sources()


def test_a_tile_off_the_map_is_named(trees) -> None:
    tile_of(trees[0], 2100, 1400).rename(trees[0] / "12" / "2100" / "4096.png")
    with pytest.raises(RasterError, match=r"4096\.png lies outside the map"):
        TilesBuilder(trees, parameters()).sources()
