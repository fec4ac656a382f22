"""Whole pictures as pixels of an encoding. Legend: H W pixels, C bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import RasterError
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster

__all__ = ["picture_size_px", "read_picture", "to_encoding"]

_OPAQUE = 255


def picture_size_px(path: Path) -> tuple[int, int]:
    """(height, width), from the header alone. Raises `RasterError` where that cannot be read."""
    with open_raster(path) as raster:
        return raster.height_px, raster.width_px


def read_picture(path: Path, encoding_name: str) -> NDArray[np.uint8]:
    """A whole picture as (H, W, C) pixels of the encoding.

    Raises:
        RasterError: it cannot be read, is not 8-bit, or its bands cannot be made the encoding's.
    """
    with open_raster(path) as raster:
        if raster.dtype != np.uint8:
            raise RasterError(
                f"{path} has pixels of {raster.dtype}", remedy="Convert it to 8 bits a band", reason="unsupported"
            )
        return to_encoding(raster.read(full_window(raster)), encoding_name, str(path))


def to_encoding(pixels_HWC: NDArray[np.uint8], encoding_name: str, name: str) -> NDArray[np.uint8]:
    """Gray becomes RGB and RGB gray as `Encoding.of_picture` says; alpha goes if nothing shows through.

    Raises:
        RasterError: the picture `name` has other bands, or is transparent in places.
    """
    bands = pixels_HWC.shape[-1]
    if bands in (2, 4):
        if (pixels_HWC[..., -1] != _OPAQUE).any():
            raise RasterError(f"{name} is transparent in places", remedy="Flatten it onto a background", reason="transparent")
        pixels_HWC = np.ascontiguousarray(pixels_HWC[..., :-1])
        bands -= 1
    wanted = encoding(encoding_name)
    if bands in wanted.takes:
        return wanted.of_picture(pixels_HWC)
    raise RasterError(
        f"{name} has {bands} bands, {encoding_name} {wanted.bands}", remedy="Convert it to RGB", reason="unsupported"
    )
