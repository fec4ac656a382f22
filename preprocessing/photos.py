"""Photos of any kind as RGB, and how a picture is brought to the size of pairs. Legend: H W pixels, C bands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import RasterError
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster
from preprocessing.align import resize

__all__ = ["Fit", "fitted", "fitted_photo", "have_one_aspect", "read_photo", "to_rgb"]

Fit = Literal["crop", "stretch"]
"""What becomes of a picture of another aspect: its middle is cut out, or it is stretched."""

_WHITE = 255.0


def read_photo(path: Path) -> NDArray[Any]:
    """A whole photo as it is: (H, W, C) uint8 or uint16; gray, gray with alpha, RGB or RGB with alpha.

    Raises:
        RasterError: it cannot be read, or is none of these.
    """
    with open_raster(path) as raster:
        if raster.dtype not in (np.uint8, np.uint16) or not 1 <= raster.bands <= 4:
            raise RasterError(
                f"{path} has {raster.bands} bands of {raster.dtype}, which is no photo",
                remedy="Convert it to gray or RGB with 8 or 16 bits a band",
                reason="unsupported",
            )
        return raster.read(full_window(raster))


def to_rgb(photo_HWC: NDArray[Any]) -> NDArray[np.float32]:
    """(H, W, 1 to 4) uint8 or uint16 -> (H, W, 3) float32 in 0..255; what is transparent lies over white."""
    values_HWC = photo_HWC.astype(np.float32) * np.float32(_WHITE / np.iinfo(photo_HWC.dtype).max)
    bands = values_HWC.shape[-1]
    colours_HWC = values_HWC[..., :1] if bands <= 2 else values_HWC[..., :3]
    if bands in (2, 4):
        opacity_HW1 = values_HWC[..., -1:] / np.float32(_WHITE)
        # What lies under full transparency is often garbage: times 0 it is nothing, not even a rounding error.
        colours_HWC = colours_HWC * opacity_HW1 + _WHITE * (1 - opacity_HW1)
    return np.ascontiguousarray(np.broadcast_to(colours_HWC, (*colours_HWC.shape[:2], 3)), dtype=np.float32)


def fitted_photo(photo_HWC: NDArray[Any], size_px: tuple[int, int], fit: Fit) -> NDArray[np.uint8]:
    """A photo, as `read_photo` gives it, -> (height, width, 3) RGB."""
    rgb_HWC = fitted(photo_HWC, size_px, fit, lambda part_HWC, height, width: resize(to_rgb(part_HWC), height, width))
    fitted_HWC: NDArray[np.uint8] = np.clip(np.rint(rgb_HWC), 0, 255).astype(np.uint8)
    return fitted_HWC


def fitted(
    picture_HWC: NDArray[Any], size_px: tuple[int, int], fit: Fit, resized: Callable[[NDArray[Any], int, int], NDArray[Any]]
) -> NDArray[Any]:
    """A picture at `size_px`, (height, width); `resized(part_HWC, height_px, width_px)` scales what is kept of it."""
    height_px, width_px = size_px
    return resized(_middle(picture_HWC, height_px / width_px) if fit == "crop" else picture_HWC, height_px, width_px)


def have_one_aspect(size_px: tuple[int, int], other_px: tuple[int, int]) -> bool:
    """Whether a picture of `other_px`, (height, width), is one of `size_px` at some scale, to a pixel of its own."""
    (height, width), (other_height, other_width) = size_px, other_px
    return abs(other_height - height * other_width / width) < 1 or abs(other_width - width * other_height / height) < 1


def _middle(picture_HWC: NDArray[Any], aspect: float) -> NDArray[Any]:
    """The largest part about the centre whose height is `aspect` times its width."""
    height_px, width_px = picture_HWC.shape[:2]
    kept_y, kept_x = min(height_px, max(1, round(width_px * aspect))), min(width_px, max(1, round(height_px / aspect)))
    top, left = (height_px - kept_y) // 2, (width_px - kept_x) // 2
    return picture_HWC[top : top + kept_y, left : left + kept_x]
