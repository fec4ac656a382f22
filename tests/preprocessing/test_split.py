from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core.config import replace
from p2p_core.errors import ConfigError
from p2p_core.geometry import TileGrid, Window
from p2p_core.pairstore.schema import PairRecord
from preprocessing.gaps import smallest_gap_px, smallest_gap_to_px
from preprocessing.pairs import Rejected
from preprocessing.split import BlockSplit, DirectorySplit, Fractions, NameSplit, SourceSplit


@dataclass(frozen=True)
class Item:
    pair_id: str
    source_id: str = "s"
    window: Window | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@st.composite
def block_splits(draw: st.DrawFn) -> BlockSplit:
    area = Window(draw(st.integers(0, 50)), draw(st.integers(0, 50)), draw(st.integers(40, 200)), draw(st.integers(40, 300)))
    x_px = st.integers(area.x_px - 20, area.x_end_px)
    reserved = draw(st.lists(st.builds(Window, st.integers(0, 250), x_px, st.integers(1, 90), st.integers(1, 40)), max_size=2))
    train = draw(st.sampled_from((0.4, 0.6, 0.8)))
    return BlockSplit(
        area=area,
        block_px=draw(st.integers(15, 90)),
        buffer_px=draw(st.integers(0, 20)),
        fractions=Fractions(train=train, val=(1 - train) / 2, test=(1 - train) / 2),
        seed=draw(st.integers(0, 5)),
        reserved=tuple(reserved),
        wraps=draw(st.booleans()),
    )


def records_of(rule: BlockSplit, tile_px: int, stride_px: int) -> list[PairRecord]:
    grid = TileGrid(rule.area.height_px, rule.area.width_px, tile_px, stride_px)
    windows = [window.shift(rule.area.y_px, rule.area.x_px) for window in grid]
    assigned = [(window, rule.assign(Item("p", window=window))) for window in windows]
    return [
        PairRecord(f"{window}", "s", split, i, "", "", window)
        for i, (window, split) in enumerate(assigned)
        if isinstance(split, str)
    ]


def pixels_of(window: Window, rule: BlockSplit, margin_px: int) -> set[tuple[int, int]]:
    """Every pixel within `margin_px` of a window, round the globe where the area goes round it."""
    grown = window.grow(margin_px)
    columns = range(grown.x_px, grown.x_end_px)
    if rule.wraps:
        columns = [rule.area.x_px + (x - rule.area.x_px) % rule.area.width_px for x in columns]  # type: ignore[assignment]
    return {(y, x) for y in range(grown.y_px, grown.y_end_px) for x in columns}


@settings(max_examples=40, deadline=None)
@given(block_splits(), st.integers(8, 30), st.integers(5, 30))
def test_tiles_of_different_splits_are_twice_the_buffer_apart_pixel_by_pixel(
    rule: BlockSplit, tile_px: int, stride_px: int
) -> None:
    """Checked with sets of pixels, which know nothing of blocks, windows or arithmetic of gaps."""
    near: dict[str, set[tuple[int, int]]] = {}
    for record in records_of(rule, tile_px, stride_px):
        assert record.window is not None
        near.setdefault(record.split, set()).update(pixels_of(record.window, rule, rule.buffer_px))
    splits = list(near.values())
    for i, one in enumerate(splits):
        for other in splits[i + 1 :]:
            assert not one & other


@settings(max_examples=60, deadline=None)
@given(block_splits(), st.integers(8, 30), st.integers(5, 30))
def test_the_proof_agrees_that_splits_keep_their_distance(rule: BlockSplit, tile_px: int, stride_px: int) -> None:
    wrap_px = rule.area.width_px if rule.wraps else None
    records = records_of(rule, tile_px, stride_px)
    gap_px = smallest_gap_px(records, wrap_px=wrap_px)
    assert gap_px is None or gap_px >= 2 * rule.buffer_px
    reserved_px = smallest_gap_to_px(records, rule.reserved, wrap_px=wrap_px)
    assert reserved_px is None or reserved_px >= rule.buffer_px


@settings(max_examples=25, deadline=None)
@given(block_splits(), st.integers(8, 30))
def test_a_tile_is_kept_exactly_if_all_ground_around_it_is_of_one_split(rule: BlockSplit, tile_px: int) -> None:
    """The rule again, from the block of each single pixel; ground of blocks that take no part does not matter."""
    for window in TileGrid(rule.area.height_px, rule.area.width_px, tile_px, 2 * tile_px):
        placed = window.shift(rule.area.y_px, rule.area.x_px)
        around = pixels_of(placed, rule, rule.buffer_px)
        inside = {(y - rule.area.y_px, x - rule.area.x_px) for y, x in around}
        inside = {(y, x) for y, x in inside if 0 <= y < rule.area.height_px and 0 <= x < rule.area.width_px}
        splits = {rule.block_splits.get((y // rule.block_px, x // rule.block_px)) for y, x in inside} - {None}
        lost = any(around & pixels_of(reserved, rule, 0) for reserved in rule.reserved)
        expected = "reserved" if lost else splits.pop() if len(splits) == 1 else "buffer"
        assert rule.split_of(placed) == expected


@given(st.lists(st.builds(Window, *[st.integers(0, 60)] * 2, st.integers(1, 20), st.integers(1, 20)), min_size=2, max_size=8))
def test_the_gap_is_the_distance_of_the_nearest_pixels(windows: list[Window]) -> None:
    records = [PairRecord(f"{i}", "s", "train" if i % 2 else "test", i, "", "", w) for i, w in enumerate(windows)]
    gap_px = smallest_gap_px(records)
    assert gap_px is not None
    distances = []
    for one in windows[0::2]:
        for other in windows[1::2]:
            ys = min(abs(a - b) for a in range(one.y_px, one.y_end_px) for b in range(other.y_px, other.y_end_px))
            xs = min(abs(a - b) for a in range(one.x_px, one.x_end_px) for b in range(other.x_px, other.x_end_px))
            distances.append(max(ys, xs))
    assert max(gap_px, -1) == min(distances) - 1  # neighbours are one pixel step and no gap apart


def test_the_gap_goes_round_the_globe() -> None:
    records = [
        PairRecord("a", "s", "train", 0, "", "", Window(0, 0, 10, 10)),
        PairRecord("b", "s", "test", 1, "", "", Window(0, 85, 10, 10)),
    ]
    assert smallest_gap_px(records) == 75
    assert smallest_gap_px(records, wrap_px=100) == 5
    assert smallest_gap_px(records[:1]) is None


def test_overlapping_tiles_of_two_splits_are_found_out() -> None:
    records = [
        PairRecord("a", "s", "train", 0, "", "", Window(0, 0, 10, 10)),
        PairRecord("b", "s", "test", 1, "", "", Window(7, 9, 10, 10)),
    ]
    gap_px = smallest_gap_px(records)
    assert gap_px is not None
    assert gap_px < 0


def test_blocks_at_the_edges_of_the_globe_are_neighbours_only_if_it_wraps() -> None:
    area = Window(0, 0, 30, 90)
    rules = [BlockSplit(area=area, block_px=30, buffer_px=5, seed=seed, wraps=wraps) for seed in range(20) for wraps in (0, 1)]
    fractions = Fractions(train=0.34, val=0.33, test=0.33)  # one block each
    rules = [rule.model_copy(update={"fractions": fractions}) for rule in rules]
    at_edge = Window(10, 0, 10, 10)
    assert {rule.split_of(at_edge) for rule in rules if not rule.wraps} == {"train", "val", "test"}
    assert {rule.split_of(at_edge) for rule in rules if rule.wraps} == {"buffer"}


def test_shares_hold_for_blocks_and_reserved_ones_take_no_part() -> None:
    rule = BlockSplit(
        area=Window(0, 0, 100, 200),
        block_px=10,
        fractions=Fractions(train=0.7, val=0.2, test=0.1),
        reserved=(Window(0, 0, 50, 100),),
    )
    counts = Counter(rule.block_splits.values())
    assert counts == {"train": 105, "val": 30, "test": 15}
    assert rule.block_window(9, 19) == Window(90, 190, 10, 10)
    assert BlockSplit(area=Window(5, 7, 25, 25), block_px=10).block_window(2, 2) == Window(25, 27, 5, 5)


def test_the_split_of_a_block_depends_on_the_seed_and_nothing_else() -> None:
    rule = BlockSplit(area=Window(0, 0, 100, 100), block_px=10)
    assert pickle.loads(pickle.dumps(rule)).block_splits == rule.block_splits
    assert BlockSplit.model_validate(rule.model_dump(mode="json")) == rule
    other = BlockSplit(area=Window(0, 0, 100, 100), block_px=10, seed=1)
    assert other.block_splits != rule.block_splits
    assert replace(rule, seed=1).block_splits == other.block_splits


def test_rejections_say_why() -> None:
    rule = BlockSplit(area=Window(0, 0, 40, 40), block_px=10, buffer_px=3, reserved=(Window(0, 0, 4, 4),))
    outcomes = {
        "reserved": rule.assign(Item("a", window=Window(4, 4, 4, 4))),
        "outside": rule.assign(Item("b", window=Window(38, 0, 4, 4))),
        "no_place": rule.assign(Item("c")),
    }
    for reason, outcome in outcomes.items():
        assert isinstance(outcome, Rejected)
        assert outcome.reason == reason
    assert "3 px" in getattr(outcomes["reserved"], "detail", "")


@given(st.text(max_size=20), st.integers(0, 3))
def test_a_name_keeps_its_split_whatever_else_there_is(name: str, seed: int) -> None:
    rule = NameSplit(seed=seed)
    assert rule.assign(Item(name)) == rule.assign(Item(name, source_id="other", attributes={"split": "val"}))


def test_names_are_shared_out_as_asked() -> None:
    rule = NameSplit(fractions=Fractions(train=0.5, val=0.3, test=0.2))
    counts = Counter(str(rule.assign(Item(f"photo {i}"))) for i in range(5000))
    assert counts["train"] == pytest.approx(2500, abs=120)
    assert counts["val"] == pytest.approx(1500, abs=120)
    assert counts["test"] == pytest.approx(1000, abs=120)
    assert {rule.assign(Item(f"{i}")) for i in range(50)} == {"train", "val", "test"}
    everything = NameSplit(fractions=Fractions(train=1, val=0, test=0))
    assert {everything.assign(Item(f"{i}")) for i in range(200)} == {"train"}


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.integers(0, 3))
def test_by_source_all_pairs_of_one_go_together_whatever_else_there_is(source: str, one: str, other: str, seed: int) -> None:
    rule = SourceSplit(seed=seed)
    assert rule.assign(Item(one, source)) == rule.assign(Item(other, source, attributes={"split": "val"}))


def test_sources_are_shared_out_as_asked() -> None:
    rule = SourceSplit(fractions=Fractions(train=0.5, val=0.3, test=0.2))
    counts = Counter(str(rule.assign(Item("p", f"clip {i}"))) for i in range(5000))
    assert [counts[split] for split in ("train", "val", "test")] == pytest.approx([2500, 1500, 1000], abs=120)
    reseeded = SourceSplit(fractions=rule.fractions, seed=1)
    assert any(rule.assign(Item("p", f"{i}")) != reseeded.assign(Item("p", f"{i}")) for i in range(20))


def test_directories_decide_and_what_lies_in_none_is_rejected() -> None:
    rule = DirectorySplit()
    assert rule.assign(Item("a", attributes={"split": "val"})) == "val"
    for attributes in ({}, {"split": "validation"}):
        outcome = rule.assign(Item("a", attributes=attributes))
        assert isinstance(outcome, Rejected)
        assert outcome.reason == "no_split"


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"add up to 1\.2"):
        Fractions.parse({"train": 0.8, "val": 0.2, "test": 0.2}, where="--fractions")


@pytest.mark.parametrize(
    ("buffer_px", "detail"),
    [(0, "It lies on blocks of more than one split"), (2, "Within 2 px of it lie blocks of more than one split")],
)
def test_a_tile_between_blocks_is_told_with_the_buffer_only_where_there_is_one(buffer_px: int, detail: str) -> None:
    rule = BlockSplit(
        area=Window(0, 0, 40, 40), block_px=10, buffer_px=buffer_px, fractions=Fractions(train=0.5, val=0.5, test=0)
    )
    found = [rule.assign(Item("p", window=Window(y_px, 5, 10, 10))) for y_px in range(30)]
    assert {item.detail for item in found if isinstance(item, Rejected)} == {detail}
