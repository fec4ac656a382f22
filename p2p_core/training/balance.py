"""Which pairs an epoch repeats: those that show what most pairs do not.

A thousand steps teach what they show a thousand times. On maps of the world, high mountains are one percent of the land, and
a run of minutes paints them as it would the nearest thing it has seen enough of.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import Encoding

__all__ = ["times_an_epoch"]

_LEVELS = 16
"""Each of up to three bands is cut into so many steps; a colour is a cell of that grid."""

_ONCE = 0.5
"""The share of the pairs, those of the commonest colours, that come once."""

_OFTEN = 0.97
"""The pairs rarer than this share of all come as often as they may."""


class Pictures(Protocol):
    """(H, W, C) each: an array of them, or what reads one at a time."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NDArray[Any]]: ...


def times_an_epoch(inputs: Pictures, at_most: int, encoding: Encoding | None = None) -> NDArray[np.int64]:
    """How often each pair comes in an epoch, 1 to `at_most`, by how surprising the colours of its input are.

    The surprise of a pair is the mean over its pixels of -log p(colour), p being the colour's share of all pixels. Above the
    median it is repeated, by the square of its place between the median and the rarest pairs.

    Args:
        inputs: (H, W, C) of all training pairs; the first three bands count. They are gone through twice.
        encoding: theirs; `rgb` or another of 8-bit pictures unless given.
    """
    if at_most == 1:
        return np.ones(len(inputs), dtype=np.int64)
    counts = np.zeros(_LEVELS**3, dtype=np.int64)
    for colours in _colours(inputs, encoding):
        counts += np.bincount(colours, minlength=len(counts))
    surprise = -np.log(np.maximum(counts, 1) / counts.sum())
    surprises = np.array([surprise[colours].mean() for colours in _colours(inputs, encoding)])
    once, often = np.quantile(surprises, (_ONCE, _OFTEN))
    rarity = np.clip((surprises - once) / max(often - once, 1e-9), 0, 1)
    times: NDArray[np.int64] = 1 + np.round((at_most - 1) * rarity**2).astype(np.int64)
    return times


def _colours(pictures: Pictures, encoding: Encoding | None) -> Iterator[NDArray[np.int64]]:
    """Picture by picture, the numbers of its pixels' colours."""
    for pixels_HWC in pictures:
        levels_HWC = (encoding.to_grey_levels(pixels_HWC) if encoding else pixels_HWC)[..., :3]
        cells = levels_HWC.reshape(-1, levels_HWC.shape[-1]).astype(np.int64) * _LEVELS // 256
        yield cells @ _LEVELS ** np.arange(cells.shape[-1])
