"""Whole pictures as pixels of an encoding. Legend: H W pixels, C bands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import RasterError
from p2p_core.rasters.protocol import Raster, full_window
from p2p_core.rasters.registry import open_raster
from preprocessing.raster_encoding import fits, fitting_encoding, misfit

__all__ = ["picture_size_px", "read_halves", "read_picture", "to_encoding"]

_OPAQUE = 255


def picture_size_px(path: Path) -> tuple[int, int]:
    """(height, width), from the header alone. Raises `RasterError` where that cannot be read."""
    with open_raster(path) as raster:
        return raster.height_px, raster.width_px


def read_picture(path: Path, encoding_name: str) -> NDArray[Any]:
    """A whole picture as (H, W, C) pixels of the encoding.

    Raises:
        RasterError: it cannot be read, or its bands and depth cannot be made the encoding's.
    """
    own = encoding(encoding_name)
    with open_raster(path) as raster:
        if not own.is_picture:
            if not fits(raster, encoding_name):
                raise _misfit(raster, encoding_name)
            values_HWC = raster.read(full_window(raster))
            return own.of_raster(values_HWC, np.ones(values_HWC.shape[:2], np.bool_))
        if raster.dtype != np.uint8:
            raise _misfit(raster, encoding_name)
        return to_encoding(raster.read(full_window(raster)), encoding_name, str(path))


def _misfit(raster: Raster, encoding_name: str) -> RasterError:
    fitting = fitting_encoding(raster)
    instead = "" if fitting is None else f"; {fitting} would fit it"
    return RasterError(
        f"{misfit(raster, encoding_name)}{instead}",
        remedy="Name an encoding that fits, or convert it to 8 bits a band",
        reason="unsupported",
    )


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


def read_halves(
    path: Path, encodings: tuple[str, str], input_side: Literal["left", "right"]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Input and target of a picture that holds both side by side, each (H, W / 2, C) of its encoding.

    Raises:
        RasterError: as `read_picture`, or it has no middle.
    """
    width_px = picture_size_px(path)[1]
    if width_px % 2:
        raise RasterError(
            f"It is {width_px} px wide, which has no middle: pictures of one directory hold both halves side by side",
            remedy="Export it again, both halves of one width, or give two directories",
            reason="size",
        )
    left, right = slice(0, width_px // 2), slice(width_px // 2, width_px)
    input_columns, target_columns = (left, right) if input_side == "left" else (right, left)
    whole = {name: read_picture(path, name) for name in set(encodings)}
    return whole[encodings[0]][:, input_columns], whole[encodings[1]][:, target_columns]
