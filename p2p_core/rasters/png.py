"""PNG of uint8 pixels. The same pixels and text are the same bytes. Legend: H W pixels, C bands."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from p2p_core.errors import RasterError

__all__ = ["png_bytes"]

_BANDS = (1, 2, 3, 4)


def png_bytes(pixels_HWC: NDArray[np.uint8], path: Path, text: Mapping[str, str] | None = None) -> bytes:
    """The file's content. `path` is what an error names; `text` goes into the file by its keys, as UTF-8.

    Raises:
        RasterError: pixels that PNG does not hold.
    """
    bands = pixels_HWC.shape[2]
    if pixels_HWC.dtype != np.uint8 or bands not in _BANDS:
        raise RasterError(
            f"{path} cannot be a PNG: {bands} bands of {pixels_HWC.dtype}",
            remedy="Give 1 to 4 bands of 8 bits: gray or RGB, with or without alpha",
            reason="unsupported",
        )
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    # Level 1 is three times as fast as the default and a tenth larger.
    Image.fromarray(pixels_HWC[..., 0] if bands == 1 else pixels_HWC).save(buffer, "PNG", compress_level=1, pnginfo=info)
    return buffer.getvalue()
