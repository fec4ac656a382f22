"""The split drawn on the world: which tiles train, validate and test, which were left out, and what was never touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2p_core.geometry import Window
from p2p_core.pairstore.reader import PairStore
from p2p_core.report.pictures import Picture, open_part, picture, preview

__all__ = ["Layer", "Rejection", "SplitMap", "split_map"]

MAP_PX = 1400
SPLITS = ("train", "val", "test")
REJECTED = "rejected"


@dataclass(frozen=True)
class Layer:
    """Tiles of one colour. `path` is an SVG path in pixels of the target's grid; `count` includes tiles without a place."""

    name: str
    count: int
    path: str


@dataclass(frozen=True)
class Rejection:
    """How many tiles were left out for a reason, and what was said about the first of them."""

    reason: str
    count: int
    example: str


@dataclass(frozen=True)
class SplitMap:
    base: Picture
    width_px: int
    height_px: int
    layers: tuple[Layer, ...]
    reserved: tuple[Window, ...]
    rejections: tuple[Rejection, ...]
    rule: str
    alt: str


def split_map(directory: Path) -> SplitMap:
    """From `pairs/` and `sources/aerial.tif`. Raises `StoreError` or `RasterError` where one of them is absent or damaged."""
    store = PairStore.open(directory / "pairs")
    with open_part(directory / "sources" / "aerial.tif") as raster:
        base = picture(preview(raster, MAP_PX), "The Blue Marble, the whole world")
        width_px, height_px = raster.width_px, raster.height_px
    layers = _layers(store)
    counts = ", ".join(f"{layer.count} {layer.name}" for layer in layers)
    return SplitMap(
        base=base,
        width_px=width_px,
        height_px=height_px,
        layers=layers,
        reserved=reserved_windows(store.manifest.split_rule),
        rejections=_rejections(store),
        rule=rule_sentence(store.manifest.split_rule),
        alt=f"Tiles on the world map: {counts}",
    )


def _layers(store: PairStore) -> tuple[Layer, ...]:
    """In the order they are drawn: rejected tiles may overlap those of a split."""
    rejected = Layer(REJECTED, sum(store.manifest.rejected.values()), tiles_path(r.window for r in store.rejected))
    splits = (
        Layer(name, store.manifest.counts.get(name, 0), tiles_path(r.window for r in store.pairs if r.split == name))
        for name in SPLITS
    )
    return (rejected, *splits)


def tiles_path(windows: Iterable[Window | None]) -> str:
    """One path of many rectangles: drawn with one fill, overlapping tiles do not darken each other."""
    places = sorted({window for window in windows if window is not None})
    return "".join(f"M{w.x_px} {w.y_px}h{w.width_px}v{w.height_px}h-{w.width_px}z" for w in places)


def reserved_windows(split_rule: Mapping[str, Any]) -> tuple[Window, ...]:
    """The ground that no tile may touch; none for split rules that reserve none."""
    boxes: Sequence[Mapping[str, int]] = split_rule.get("reserved", ())
    return tuple(Window(**box) for box in boxes)


def rule_sentence(split_rule: Mapping[str, Any]) -> str:
    """How tiles were shared out, for people; `preprocessing.split` has the rules."""
    if split_rule.get("kind") == "latitude":
        apart_px = 2 * split_rule["buffer_px"]
        return f"Train, val and test lie from north to south. Tiles of different splits lie at least {apart_px} px apart."
    if split_rule.get("kind") != "block":
        return f"Tiles were split by {split_rule.get('kind', 'an unknown rule')}."
    block_px, apart_px = split_rule["block_px"], 2 * split_rule["buffer_px"]
    return f"Splits are whole geographic blocks of {block_px} px. Tiles of different splits lie at least {apart_px} px apart."


def _rejections(store: PairStore) -> tuple[Rejection, ...]:
    """The most frequent reason first."""
    counts = Counter(record.reason for record in store.rejected)
    examples = {record.reason: record.detail for record in reversed(store.rejected)}
    return tuple(
        Rejection(reason, counts[reason], examples[reason]) for reason in sorted(counts, key=lambda r: (-counts[r], r))
    )
