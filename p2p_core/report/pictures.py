"""Pictures inside the page: previews of rasters of any size, and their data URIs.

Legend: HWC, uint8, RGB.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from p2p_core.geometry import Window
from p2p_core.rasters.protocol import Raster
from p2p_core.rasters.registry import open_raster
from p2p_core.report.records import require

__all__ = ["Picture", "as_rgb", "open_part", "picture", "preview", "read_preview"]

STRIP_PIXELS = 1 << 24
"""Pixels decoded at once while a preview is made, so that memory does not grow with the raster."""


@dataclass(frozen=True)
class Picture:
    """An image as a page needs it: where it is (a data URI), how large, and what it shows for who cannot see it."""

    uri: str
    width_px: int
    height_px: int
    alt: str


def as_rgb(pixels_HWC: NDArray[np.generic]) -> NDArray[np.uint8]:
    """One band becomes grey, bands after the third are left out. Only uint8 has a meaning on a screen."""
    if pixels_HWC.shape[2] < 3:
        pixels_HWC = np.repeat(pixels_HWC[:, :, :1], 3, axis=2)
    return pixels_HWC[:, :, :3].astype(np.uint8, copy=False)


def preview(raster: Raster, longest_px: int) -> NDArray[np.uint8]:
    """The whole raster, averaged over k x k blocks with the smallest k whose result has no side above `longest_px`.

    Reads strip by strip. The last k - 1 rows and columns at most are left out, so that every block is whole.
    """
    k = -(-max(raster.height_px, raster.width_px) // longest_px)
    rows, columns = max(1, raster.height_px // k), max(1, raster.width_px // k)
    k_y, k_x = min(k, raster.height_px), min(k, raster.width_px)
    strip_rows = max(1, STRIP_PIXELS // (k_y * raster.width_px))
    strips = []
    for first in range(0, rows, strip_rows):
        count = min(strip_rows, rows - first)
        pixels_HWC = as_rgb(raster.read(Window(first * k_y, 0, count * k_y, columns * k_x)))
        blocks = pixels_HWC.reshape(count, k_y, columns, k_x, 3)
        strips.append(np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8))
    return np.concatenate(strips)


def read_preview(path: Path, longest_px: int) -> NDArray[np.uint8]:
    """`preview` of a file. Raises `EmptySourceError` where it is absent, `RasterError` where it cannot be read."""
    with open_part(path) as raster:
        return preview(raster, longest_px)


def open_part(path: Path) -> Raster:
    """`open_raster` of a file that a demo makes. Raises `EmptySourceError` where it is absent."""
    return open_raster(require(path))


def picture(pixels_HWC: NDArray[np.uint8], alt: str, *, width_px: int | None = None, lossless: bool = False) -> Picture:
    """A WebP data URI; `width_px` narrows a wider image. The same pixels are the same bytes."""
    image = Image.fromarray(pixels_HWC)
    if width_px is not None and image.width > width_px:
        size = (width_px, max(1, round(image.height * width_px / image.width)))
        image = image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless, quality=88, method=4)
    uri = "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
    return Picture(uri, image.width, image.height, alt)
