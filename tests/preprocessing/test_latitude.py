"""The split by latitude: where its lines lie, that no ground is in two splits, and where latitude means nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from p2p_core.errors import ConfigError
from p2p_core.executor import Executor
from p2p_core.geometry import TileGrid, Window
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord
from p2p_core.rasters.grid import Bounds, Grid, Transform
from p2p_core.rasters.north import southward
from p2p_core.report.split_map import rule_sentence
from preprocessing.build import build_dataset
from preprocessing.gaps import smallest_gap_px, smallest_gap_to_px
from preprocessing.latitude import latitude_split
from preprocessing.maps import MapsBuilder, MapsParameters
from preprocessing.split import Fractions, LatitudeSplit

UTM = "EPSG:32633"


@dataclass(frozen=True)
class Tiles:
    """Tiles on a grid, without any raster."""

    on: Grid
    tile_px: int
    stride_px: int

    def size_px(self) -> tuple[int, int]:
        return self.tile_px, self.tile_px

    def grid(self) -> Grid:
        return self.on

    def area(self) -> Window:
        return Window(0, 0, self.on.height_px, self.on.width_px)

    def windows(self) -> list[Window]:
        return list(TileGrid(self.on.height_px, self.on.width_px, self.tile_px, self.stride_px))


def turned(degrees: float, height_px: int, width_px: int) -> Grid:
    """10 m pixels in UTM, the raster turned by an angle."""
    turn = rasterio.Affine.translation(500_000, 5_000_000) @ rasterio.Affine.rotation(degrees) @ rasterio.Affine.scale(10, -10)
    a, b, c, d, e, f = tuple(turn)[:6]
    transform: Transform = (a, b, c, d, e, f)
    return Grid(UTM, transform, height_px, width_px)


def records_of(rule: LatitudeSplit, windows: list[Window]) -> list[PairRecord]:
    splits = [(window, rule.split_of(window)) for window in windows]
    return [
        PairRecord(f"{w}", "s", split, i, "", "", w) for i, (w, split) in enumerate(splits) if split in ("train", "val", "test")
    ]


def pixels_near(windows: list[Window | None], margin_px: int, grid: Grid) -> NDArray[np.bool_]:
    """Which pixels lie within `margin_px` of a window."""
    near = np.zeros((grid.height_px, grid.width_px), np.bool_)
    for window in windows:
        assert window is not None
        near[window.grow(margin_px).clip(grid.height_px, grid.width_px).slices] = True
    return near


@settings(max_examples=60, deadline=None)
@given(
    degrees=st.sampled_from([0.0, 0.0, 3.0, -20.0, 45.0, 90.0, 137.0, 180.0]),
    tile_px=st.integers(6, 14),
    stride_px=st.integers(4, 20),
    buffer_px=st.integers(0, 9),
)
def test_tiles_of_different_splits_are_twice_the_buffer_apart_however_the_raster_is_turned(
    degrees: float, tile_px: int, stride_px: int, buffer_px: int
) -> None:
    """Checked pixel by pixel with masks, which know nothing of lines, and by the proof from the table."""
    tiles = Tiles(turned(degrees, 240, 260), tile_px, stride_px)
    rule = latitude_split(tiles, buffer_px=buffer_px)
    records = records_of(rule, tiles.windows())
    gap_px = smallest_gap_px(records)
    assert gap_px is not None
    assert gap_px >= 2 * buffer_px
    train, val, test = (
        pixels_near([r.window for r in records if r.split == name], buffer_px, tiles.on) for name in ("train", "val", "test")
    )
    assert train.any()
    assert val.any()
    assert test.any()
    assert not (train & val).any()
    assert not ((train | val) & test).any()


@settings(max_examples=40, deadline=None)
@given(
    degrees=st.sampled_from([0.0, 3.0, -20.0, 90.0, 180.0]), tile_px=st.integers(6, 14), buffer_px=st.sampled_from([0, 3, None])
)
def test_test_lies_south_of_the_median_of_all_tiles_and_train_and_val_north_of_it(
    degrees: float, tile_px: int, buffer_px: int | None
) -> None:
    """By the northings of the tiles' corners in the CRS, worked out from the transform alone."""
    tiles = Tiles(turned(degrees, 150, 140), tile_px, tile_px)
    to_ground = rasterio.Affine(*tiles.on.transform)
    rule = latitude_split(tiles, buffer_px=buffer_px)

    def northings(window: Window) -> list[float]:
        corners = [(x, y) for x in (window.x_px, window.x_end_px) for y in (window.y_px, window.y_end_px)]
        return [(to_ground @ corner)[1] for corner in corners]

    median = float(np.median([np.mean(northings(window)) for window in tiles.windows()]))
    by_split = {name: [w for w in tiles.windows() if rule.split_of(w) == name] for name in ("train", "val", "test")}
    assert all(max(northings(window)) <= median + 1e-6 for window in by_split["test"])
    assert all(min(northings(window)) >= median - 1e-6 for name in ("train", "val") for window in by_split[name])
    least_of_train = min(min(northings(window)) for window in by_split["train"])
    assert all(max(northings(window)) <= least_of_train + 1e-6 for window in by_split["val"])


def test_the_lines_of_a_grid_that_can_be_reckoned_by_hand() -> None:
    """Ten rows of 10 px, no buffer: the median is 50, and of the five rows north of it val has the last."""
    tiles = Tiles(Grid("EPSG:4326", (0.01, 0, 10, 0, -0.01, 50), 100, 40), 10, 10)
    rule = latitude_split(tiles, buffer_px=0)
    assert rule == LatitudeSplit(southward=(0, 1), val_from_px=40, test_from_px=50, buffer_px=0)
    assert [rule.split_of(Window(y, 0, 10, 10)) for y in range(0, 100, 10)] == ["train"] * 4 + ["val"] + ["test"] * 5
    half_a_tile = latitude_split(tiles)
    assert half_a_tile.buffer_px == 5
    splits = [half_a_tile.split_of(Window(y, 0, 10, 10)) for y in range(0, 100, 10)]
    assert splits == ["train"] * 2 + ["buffer", "val", "buffer", "buffer"] + ["test"] * 4
    thirds = latitude_split(tiles, buffer_px=0, fractions=Fractions(train=0.6, val=0.1, test=0.3))
    assert [thirds.split_of(Window(y, 0, 10, 10)) for y in (50, 60, 70)] == ["train", "val", "test"]
    no_val = latitude_split(tiles, buffer_px=0, fractions=Fractions(train=0.5, val=0, test=0.5))
    assert [no_val.split_of(Window(y, 0, 10, 10)) for y in (30, 40, 50)] == ["train", "train", "test"]


def test_a_south_up_raster_has_its_test_on_top() -> None:
    tiles = Tiles(Grid("EPSG:4326", (0.01, 0, 10, 0, 0.01, 40), 100, 40), 10, 10)
    rule = latitude_split(tiles, buffer_px=0)
    assert [rule.split_of(Window(y, 0, 10, 10)) for y in (0, 40, 50, 60, 90)] == ["test", "test", "val", "train", "train"]


def test_reserved_ground_is_left_out_with_the_buffer_and_moves_the_median() -> None:
    tiles = Tiles(Grid("EPSG:4326", (0.01, 0, 10, 0, -0.01, 50), 160, 40), 10, 10)
    reserved = (Window(0, 0, 37, 40),)
    rule = latitude_split(tiles, buffer_px=3, reserved=reserved)
    assert rule.test_from_px == 100  # twelve rows are left, 40 to 160
    assert rule.split_of(Window(30, 0, 10, 10)) == "reserved"
    assert rule.split_of(Window(39, 0, 10, 10)) == "reserved"
    gap_px = smallest_gap_to_px(records_of(rule, tiles.windows()), reserved)
    assert gap_px is not None
    assert gap_px >= 3


def test_reserved_bounds_lie_where_they_are_on_a_turned_raster() -> None:
    grid = turned(30, 80, 90)
    window = Window(20, 30, 10, 15)
    to_ground = rasterio.Affine(*grid.transform)
    xs, ys = zip(*(to_ground @ (x, y) for x in (30, 45) for y in (20, 30)), strict=True)
    around = grid.around(Bounds(min(xs), min(ys), max(xs), max(ys)))
    assert around.contains(window)
    centre_x, centre_y = to_ground @ (37.5, 25)
    close = grid.around(Bounds(centre_x - 1, centre_y - 1, centre_x + 1, centre_y + 1))
    assert Window(23, 35, 5, 5).contains(close)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:3413", (1000, 0, -50_000, 0, -1000, 50_000)),
        ("EPSG:3413", (1000, 0, 900_000, 0, -1000, 50_000)),
        ("EPSG:3413", (1000, 0, 1_700_000, 0, -1000, -900_000)),
    ],
    ids=["over-the-pole", "beside-the-pole", "more-east-than-north"],
)
def test_where_north_does_not_lie_along_the_y_axis_the_error_says_so(crs: str, transform: Transform) -> None:
    with pytest.raises(ConfigError, match=r"North does not lie along the y axis of EPSG:3413 .*Split by block"):
        southward(Grid(crs, transform, 100, 100), Window(0, 0, 100, 100))


@pytest.mark.parametrize(
    ("crs", "x", "y", "pixel"),
    [
        ("EPSG:4326", -180, 90, 1),
        ("EPSG:4326", 170, 10, 0.1),
        ("EPSG:3857", -20037508, 20037508, 200_000),
        (UTM, 200_000, 9_300_000, 100),
        ("EPSG:32733", 300_000, 3_000_000, 100),
    ],
    ids=["world", "antimeridian", "mercator", "utm-80N", "utm-south"],
)
def test_a_north_up_raster_has_rows_that_go_south(crs: str, x: float, y: float, pixel: float) -> None:
    assert southward(Grid(crs, (pixel, 0, x, 0, -pixel, y), 100, 100), Window(0, 0, 100, 100)) == (0, 1)


@pytest.mark.parametrize("name", ["train", "val"])
def test_tiles_in_too_few_rows_are_refused_with_the_counts(name: str) -> None:
    rows = {"train": 1, "val": 2}[name]
    tiles = Tiles(Grid("EPSG:4326", (0.01, 0, 10, 0, -0.01, 50), 10 * rows, 90), 10, 10)
    with pytest.raises(ConfigError, match=rf"By latitude .* would get none of {9 * rows} tiles \(0 train, .*smaller buffer"):
        latitude_split(tiles, buffer_px=0)
    with pytest.raises(ConfigError, match="Choose a smaller buffer than 5 px, as --buffer-px 0, smaller tiles"):
        latitude_split(tiles)
    with pytest.raises(ConfigError, match="Give both of them a share"):
        latitude_split(tiles, fractions=Fractions(train=0.5, val=0.5, test=0))


def test_plain_pictures_have_no_latitude(tmp_path: Path, picture, save_picture) -> None:
    pictures = (save_picture(tmp_path / "m.png", picture(64, 64, 1)), save_picture(tmp_path / "a.png", picture(64, 64, 2)))
    builder = MapsBuilder(pictures, MapsParameters(tile_px=8))
    with pytest.raises(ConfigError, match=r"a\.png has no place on the Earth.*tiles have no latitude\. Split by block"):
        latitude_split(builder)


def test_a_store_split_by_latitude_proves_it_and_is_the_same_bytes_when_built_again(
    tmp_path: Path, picture, save_geotiff, tree
) -> None:
    rasters = (
        save_geotiff(tmp_path / "m.tif", picture(128, 96, 1), crs=UTM, west=400_000, north=5_500_000, pixel=10),
        save_geotiff(tmp_path / "a.tif", picture(128, 96, 2), crs=UTM, west=400_000, north=5_500_000, pixel=10),
    )
    builder = MapsBuilder(rasters, MapsParameters(tile_px=8, stride_px=4, source_px=32))
    summaries = [
        build_dataset(builder, tmp_path / out, latitude_split(builder, buffer_px=6), executor=executor)
        for out, executor in (("one", None), ("two", Backwards()))
    ]
    store = PairStore.open(tmp_path / "one")
    gap_px = smallest_gap_px(store.pairs)
    assert gap_px is not None
    assert 12 <= gap_px < 12 + 4 + 4  # and no more ground is lost than the stride asks for
    assert min(store.manifest.counts.values()) > 0
    assert set(store.manifest.rejected) == {"buffer"}
    assert math.isclose(store.manifest.counts["test"], len(builder.windows()) / 2, rel_tol=0.2)
    told = rule_sentence(store.manifest.split_rule)
    assert told == "Train, val and test lie from north to south. Tiles of different splits lie at least 12 px apart."
    assert summaries[0].digest == summaries[1].digest
    assert tree(summaries[0].version_path) == tree(summaries[1].version_path)


class Backwards(Executor):
    """Does the last bucket first."""

    def map(self, function, items):  # type: ignore[no-untyped-def]
        done = {i: function(item) for i, item in reversed(list(enumerate(items)))}
        return [done[i] for i in sorted(done)]
