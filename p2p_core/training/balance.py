"""Which pairs an epoch repeats: those that show what most pairs do not.

A thousand steps teach what they show a thousand times. Of maps of the world's land without the poles, high mountains are one
percent, and a run of minutes paints them as it would the sea, the nearest thing it has seen enough of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["times_an_epoch"]

_LEVELS = 6
"""Each of up to three bands is cut into so many steps; a colour is a cell of that grid."""

_RARE = 0.05
"""Colours that together with all rarer ones make up so much of the pixels are rare."""

_FULL = 0.25
"""The share of rare pixels from which on a pair comes as often as it may."""


def times_an_epoch(input_NHWC: NDArray[np.uint8], at_most: int) -> NDArray[np.int64]:
    """How often each pair comes in an epoch, 1 to `at_most`: in proportion to the share of its input that is of rare colour.

    Args:
        input_NHWC: the inputs of all training pairs, uint8; the first three bands count.
    """
    if at_most == 1:
        return np.ones(len(input_NHWC), dtype=np.int64)
    colours = _colours(input_NHWC)
    shares = np.bincount(colours.ravel(), minlength=_LEVELS**3) / colours.size
    order = np.argsort(shares, kind="stable")
    rare = np.zeros(len(shares), dtype=bool)
    rare[order[np.cumsum(shares[order]) <= _RARE]] = True
    rare_shares = rare[colours].mean(axis=(1, 2))
    times: NDArray[np.int64] = 1 + np.round((at_most - 1) * np.minimum(rare_shares / _FULL, 1)).astype(np.int64)
    return times


def _colours(pixels_NHWC: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(N, H, W): the number of each pixel's colour."""
    cells = pixels_NHWC[..., :3].astype(np.int64) * _LEVELS // 256
    weights = _LEVELS ** np.arange(cells.shape[-1])
    colours: NDArray[np.int64] = cells @ weights
    return colours
