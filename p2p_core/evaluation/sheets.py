"""Contact sheets: rows of images under labelled columns, as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from p2p_core.files import write_atomic

__all__ = ["contact_sheet", "save_png"]

_GAP_PX = 4
_HEADER_PX = 22
_PAPER = (250, 250, 248)
_INK = (40, 40, 40)


def contact_sheet(columns: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Columns of (N, H, W, 3) images side by side under their labels -> one (height, width, 3) picture."""
    images = list(columns.values())
    rows, height, width, _ = images[0].shape
    sheet = Image.new(
        "RGB", (len(images) * (width + _GAP_PX) + _GAP_PX, _HEADER_PX + rows * (height + _GAP_PX) + _GAP_PX), _PAPER
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=13)
    for column, (label, column_images) in enumerate(columns.items()):
        x = _GAP_PX + column * (width + _GAP_PX)
        draw.text((x + 2, 3), label, fill=_INK, font=font)
        for row, image in enumerate(column_images):
            sheet.paste(Image.fromarray(image), (x, _HEADER_PX + _GAP_PX + row * (height + _GAP_PX)))
    return np.asarray(sheet)


def save_png(picture_HWC: NDArray[np.uint8], path: Path) -> None:
    """Write an RGB picture atomically."""
    buffer = io.BytesIO()
    Image.fromarray(picture_HWC).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())
