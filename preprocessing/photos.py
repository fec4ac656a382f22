"""Photos of any kind as RGB. Legend: H W pixels, C bands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import RasterError
from p2p_core.rasters.protocol import Raster, full_window
from p2p_core.rasters.registry import open_raster
from preprocessing.align import resize
from preprocessing.sizing import Placement

__all__ = ["open_photo", "read_photo", "rgb_photo", "shown_photo", "to_rgb"]

_WHITE = 255.0


@contextmanager
def open_photo(path: Path) -> Iterator[Raster]:
    """A photo as it is: (H, W, C) uint8 or uint16; gray, gray with alpha, RGB or RGB with alpha.

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
        yield raster


def read_photo(path: Path) -> NDArray[Any]:
    """The whole of what `open_photo` opens. Raises as it does."""
    with open_photo(path) as photo:
        return photo.read(full_window(photo))


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


def shown_photo(photo: Raster | NDArray[Any], placement: Placement) -> NDArray[np.uint8]:
    """What a pair shows of a photo, as `open_photo` or `read_photo` gives it: RGB of the placement's `content`."""
    part_HWC = placement.kept(photo)
    rgb_HWC = placement.cut_from(resize(to_rgb(part_HWC), *placement.scaled_px))
    shown_HWC: NDArray[np.uint8] = np.clip(np.rint(rgb_HWC), 0, 255).astype(np.uint8)
    return shown_HWC


def rgb_photo(photo_HWC: NDArray[Any]) -> NDArray[np.uint8]:
    """A whole photo, as `read_photo` gives it, -> RGB of its own size."""
    return np.clip(np.rint(to_rgb(photo_HWC)), 0, 255).astype(np.uint8)
