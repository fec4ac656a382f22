"""The proof that splits share no ground: how far apart the tiles of different splits are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from p2p_core.geometry import Window
from p2p_core.pairstore.schema import PairRecord

__all__ = ["smallest_gap_px", "smallest_gap_to_px"]


def smallest_gap_px(records: Iterable[PairRecord], *, wrap_px: int | None = None) -> int | None:
    """The smallest gap between two tiles of different splits; below 0 where tiles share ground.

    The gap of two rectangles is the larger of their distances along y and x: growing both by less than half of it leaves
    them apart. None where fewer than two splits have tiles.

    Args:
        wrap_px: the width of the globe in pixels, where tiles at its left and right edge are neighbours.
    """
    by_split: dict[str, list[Window]] = {}
    for record in records:
        if record.window is not None:
            by_split.setdefault(record.split, []).append(record.window)
    names = sorted(by_split)
    gaps = [_smallest(by_split[one], by_split[other], wrap_px) for i, one in enumerate(names) for other in names[i + 1 :]]
    return min(gaps, default=None)


def smallest_gap_to_px(records: Iterable[PairRecord], ground: Sequence[Window], *, wrap_px: int | None = None) -> int | None:
    """The smallest gap between any tile and `ground` (reserved ground, say); None where there is no tile or no ground."""
    windows = [record.window for record in records if record.window is not None]
    return _smallest(windows, ground, wrap_px) if windows and ground else None


def _smallest(some: Sequence[Window], others: Sequence[Window], wrap_px: int | None) -> int:
    y0, x0, y1, x1 = _edges(some)
    shifts = (0,) if wrap_px is None else (-wrap_px, 0, wrap_px)
    gaps = []
    for other in others:  # a row at a time keeps memory at one split's size
        y_gap = np.maximum(other.y_px - y1, y0 - other.y_end_px)
        for shift in shifts:
            x_gap = np.maximum(other.x_px + shift - x1, x0 - other.x_end_px - shift)
            gaps.append(int(np.maximum(y_gap, x_gap).min()))
    return min(gaps)


def _edges(windows: Sequence[Window]) -> NDArray[np.int64]:
    """(4, N): y, x, y_end, x_end."""
    return np.array([(w.y_px, w.x_px, w.y_end_px, w.x_end_px) for w in windows], dtype=np.int64).T
