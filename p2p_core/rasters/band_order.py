"""Between GDAL's order of bands, one plane after the other, and everybody else's, pixel by pixel.

NumPy copies element by element what is not in the order of memory; OpenCV is 40 times faster with three bands of bytes.
Legend: C bands, H W pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["bands_first", "bands_last"]

_MOVED_AS = {1: np.uint8, 2: np.uint16, 4: np.int32, 8: np.float64}
"""By bytes a value: OpenCV has not every type, but values are moved, not read."""


def bands_last(pixels_CHW: NDArray[Any]) -> NDArray[Any]:
    """(C, H, W) of any real type -> (H, W, C), contiguous."""
    if pixels_CHW.size == 0:
        return np.empty((*pixels_CHW.shape[1:], len(pixels_CHW)), pixels_CHW.dtype)
    planes = np.ascontiguousarray(pixels_CHW).view(_MOVED_AS[pixels_CHW.dtype.itemsize])
    return np.asarray(cv2.merge(list(planes))).view(pixels_CHW.dtype).reshape(*pixels_CHW.shape[1:], -1)


def bands_first(pixels_HWC: NDArray[Any]) -> NDArray[Any]:
    """(H, W, C) of any real type -> (C, H, W), contiguous."""
    if pixels_HWC.size == 0:
        return np.empty((pixels_HWC.shape[2], *pixels_HWC.shape[:2]), pixels_HWC.dtype)
    moved_HWC = np.ascontiguousarray(pixels_HWC).view(_MOVED_AS[pixels_HWC.dtype.itemsize])
    return np.stack(cv2.split(moved_HWC)).view(pixels_HWC.dtype)
