"""How far two pictures of one view lie apart, by phase correlation (Kuglin and Hines 1975). Legend: H W pixels, C bands.

What is compared are the magnitudes of their gradients: edges lie at the same places in a photo, its negative and a map of it,
whichever side of them is the brighter.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_SIDE_PX", "Shift", "clear_response", "measure_shift"]

MIN_SIDE_PX = 64
"""Smaller pictures are not measured."""


class Shift(NamedTuple):
    """What the input shows at (x, y) the target shows at (x + dx_px, y + dy_px).

    `response`: how far the phases agree on it, from 0 to 1, which copies have.
    """

    dx_px: float
    dy_px: float
    response: float

    @property
    def distance_px(self) -> float:
        return math.hypot(self.dx_px, self.dy_px)


def measure_shift(input_HWC: NDArray[Any], target_HWC: NDArray[Any]) -> Shift | None:
    """The shift between two pictures of one size, to a part of a pixel; None where they agree clearly on none.

    A shift of half a side or more is not told from the one that is left when whole sides are taken off.
    """
    height_px, width_px = input_HWC.shape[:2]
    side_px = min(height_px, width_px)
    if side_px < MIN_SIDE_PX:
        return None
    window_HW = _hanning(height_px, width_px)
    (dx_px, dy_px), response = cv2.phaseCorrelate(_edges(input_HWC), _edges(target_HWC), window_HW)
    return Shift(dx_px, dy_px, response) if response > clear_response(side_px) else None


def clear_response(side_px: int) -> float:
    """What chance hardly reaches: one in a hundred of unrelated pictures has more than about 27 / side_px. Large ones have less
    than 0.2, unless what they show repeats, as the edges of roads do (docs/log.md, "Misregistered pairs").
    """
    return max(0.2, 32 / side_px)


def _edges(pixels_HWC: NDArray[Any]) -> NDArray[Any]:
    """(H, W) float32: the gradient's magnitude of the bands' mean."""
    gray_HW = pixels_HWC.mean(axis=-1, dtype=np.float32)
    return np.asarray(cv2.magnitude(cv2.Sobel(gray_HW, cv2.CV_32F, 1, 0), cv2.Sobel(gray_HW, cv2.CV_32F, 0, 1)))


@lru_cache(maxsize=4)
def _hanning(height_px: int, width_px: int) -> NDArray[Any]:
    """It fades the borders out, where each picture shows what the other does not."""
    return np.asarray(cv2.createHanningWindow((width_px, height_px), cv2.CV_32F))
