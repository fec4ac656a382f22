"""The paper's split of its maps: train and test on the two sides of the tiles' median latitude, with a buffer between.

Here the two lines are laid that `split.LatitudeSplit` goes by. The line of test is where the share of test begins: at the
median with the shares unless others are given. Val is the part of the train side that borders on the line, so that it
stands between train and test; it begins at the edge of a row of tiles, and has one row at least.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from p2p_core.errors import ConfigError, RasterError
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import SPLITS
from p2p_core.rasters.grid import Grid
from p2p_core.rasters.north import southward
from preprocessing.split import Fractions, LatitudeSplit

__all__ = ["PAPER_FRACTIONS", "PlacedTiles", "latitude_split"]

PAPER_FRACTIONS = Fractions(train=0.4, val=0.1, test=0.5)
"""Half of the tiles lie south of the median. The paper has no val; here it takes a fifth of the train side."""


class PlacedTiles(Protocol):
    """What has to be known of a builder whose tiles lie on the Earth."""

    def size_px(self) -> tuple[int, int]: ...
    def grid(self) -> Grid: ...
    def area(self) -> Window: ...
    def windows(self) -> Sequence[Window]: ...


def latitude_split(
    tiles: PlacedTiles,
    *,
    fractions: Fractions = PAPER_FRACTIONS,
    buffer_px: int | None = None,
    reserved: Sequence[Window] = (),
) -> LatitudeSplit:
    """The rule for a builder's tiles, from their places alone: no tile is decoded, and rejected ones count as well.

    Args:
        buffer_px: half a tile unless given, so that tiles of different splits are a tile apart.
        reserved: ground that no tile may touch; tiles that do take no part.

    Raises:
        ConfigError: the tiles have no latitude, or a split that has a share would get no tile.
        RasterError: the target cannot be read.
    """
    if not (fractions.train and fractions.test):
        raise ConfigError("A split by latitude lays train and test on two sides of a line", remedy="Give both of them a share")
    direction = southward(_grid_of(tiles), tiles.area())
    buffer_px = tiles.size_px()[0] // 2 if buffer_px is None else buffer_px
    bare = LatitudeSplit(southward=direction, val_from_px=0, test_from_px=0, buffer_px=buffer_px, reserved=tuple(reserved))
    windows = [window for window in tiles.windows() if not bare.reserves(window)]
    val_from_px, test_from_px = _lines([bare.span_px(window) for window in windows], fractions, buffer_px)
    rule = LatitudeSplit(**{**dict(bare), "val_from_px": val_from_px, "test_from_px": test_from_px})
    _require_all_splits(rule, windows, fractions)
    return rule


def _grid_of(tiles: PlacedTiles) -> Grid:
    try:
        return tiles.grid()
    except RasterError as error:
        if error.reason != "not-georeferenced":
            raise
        raise ConfigError(
            f"{error.problem}: its tiles have no latitude", remedy="Split by block, or give the target its CRS and transform"
        ) from error


def _lines(spans_px: Sequence[tuple[float, float]], fractions: Fractions, buffer_px: int) -> tuple[float, float]:
    """Where val and test begin. `spans_px`: the northern and southern end of each tile."""
    if not spans_px:
        return 0.0, 0.0
    centres_px = [(north_px + south_px) / 2 for north_px, south_px in spans_px]
    test_from_px = float(np.quantile(centres_px, 1 - fractions.test, method="midpoint"))
    north_side = sorted(north_px for north_px, south_px in spans_px if south_px + buffer_px <= test_from_px)
    if not (north_side and fractions.val):
        return test_from_px, test_from_px
    train_share = fractions.train / (fractions.train + fractions.val)
    first_of_val = north_side[min(math.floor(train_share * len(north_side)), len(north_side) - 1)]
    return first_of_val - buffer_px, test_from_px


def _require_all_splits(rule: LatitudeSplit, windows: Sequence[Window], fractions: Fractions) -> None:
    counts = Counter(rule.split_of(window) for window in windows)
    missing = [split for split in SPLITS if getattr(fractions, split) and not counts[split]]
    if missing:
        than = f" than {rule.buffer_px} px, as --buffer-px 0" if rule.buffer_px else ""
        found = ", ".join(f"{counts[split]} {split}" for split in (*SPLITS, "buffer"))
        raise ConfigError(
            f"By latitude {' and '.join(missing)} would get none of {len(windows)} tiles ({found}): they lie in too few rows",
            remedy=f"Choose a smaller buffer{than}, smaller tiles or a smaller stride, a taller area, or split by block",
        )
