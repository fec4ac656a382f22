"""Small pictures of rejected items, for the report. Legend: H W pixels, C bands."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SIDE_PX", "thumbnail"]

SIDE_PX = 96
"""The longer side of each picture in it."""

_JPEG_QUALITY = 80


def thumbnail(pictures: Sequence[NDArray[np.uint8]]) -> bytes:
    """RGB pictures (H, W, 3), each made to fit a square of `SIDE_PX`, side by side in one JPEG.

    The same pictures are the same bytes.
    """
    small = [_fitted(picture_HWC) for picture_HWC in pictures]
    height_px = max(picture_HWC.shape[0] for picture_HWC in small)
    white = [np.full((height_px - part.shape[0], part.shape[1], 3), 255, np.uint8) for part in small]
    joined_HWC = np.concatenate([np.concatenate([part, below]) for part, below in zip(small, white, strict=True)], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(joined_HWC).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _fitted(picture_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height_px, width_px = picture_HWC.shape[:2]
    scale = SIDE_PX / max(height_px, width_px)
    size = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    return np.asarray(cv2.resize(picture_HWC, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST))
