"""Contact sheets as PNG: rows of images under labelled columns, and captioned pictures of any size under headings."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from p2p_core.files import write_atomic

__all__ = ["Captioned", "captioned_sheet", "contact_sheet", "png_of", "save_png"]

_GAP_PX = 4
_HEADER_PX = 22
_PAPER = (250, 250, 248)
_INK = (40, 40, 40)
_SOFT_INK = (105, 110, 112)
_MARGIN_PX, _BETWEEN_PX, _LINE_PX = 16, 14, 17
_HEADING_SIZE, _HEADING_PX, _CAPTION_SIZE = 17, 30, 12
_TEXT_LINES = 3


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


@dataclass(frozen=True)
class Captioned:
    """An (H, W, 3) picture with its name on one line below it, and below that up to three lines of text."""

    picture_HWC: NDArray[np.uint8]
    name: str
    text: str = ""


def captioned_sheet(sections: Mapping[str, Sequence[Captioned]], columns: int, *, least_width_px: int = 0) -> NDArray[np.uint8]:
    """Sections (heading -> cells) one below the other, `columns` cells a row -> one (height, width, 3) picture.

    A cell is as wide as the widest picture, and no less than `least_width_px`; a row is as high as its highest cell.
    """
    of_cells = [cell for cells in sections.values() for cell in cells]
    columns = min(columns, max(len(cells) for cells in sections.values()))
    cell_px = max(least_width_px, *(cell.picture_HWC.shape[1] for cell in of_cells))
    room_px = columns * (cell_px + _BETWEEN_PX) - _BETWEEN_PX
    heading_font, font = ImageFont.load_default(size=_HEADING_SIZE), ImageFont.load_default(size=_CAPTION_SIZE)
    blocks: list[NDArray[np.uint8]] = []
    for heading, cells in sections.items():
        blocks.append(_line(_cut(heading, heading_font, room_px), heading_font, room_px))
        blocks += [_row(cells[i : i + columns], cell_px, room_px, font) for i in range(0, len(cells), columns)]
    sheet = np.concatenate(blocks)
    edge = ((_MARGIN_PX, _MARGIN_PX), (_MARGIN_PX, _MARGIN_PX))
    return np.stack([np.pad(sheet[..., band], edge, constant_values=_PAPER[band]) for band in range(3)], axis=-1)


Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _line(text: str, font: Font, width_px: int) -> NDArray[np.uint8]:
    strip = Image.new("RGB", (width_px, _HEADING_PX), _PAPER)
    ImageDraw.Draw(strip).text((0, 0), text, fill=_INK, font=font)
    return np.asarray(strip)


def _row(cells: Sequence[Captioned], cell_px: int, width_px: int, font: Font) -> NDArray[np.uint8]:
    texts = [(_cut(cell.name, font, cell_px), *_wrapped(cell.text, font, cell_px)) for cell in cells]
    below_px = max(len(cell.picture_HWC) for cell in cells) + 4
    height_px = below_px + max(map(len, texts)) * _LINE_PX + _BETWEEN_PX
    row = Image.new("RGB", (width_px, height_px), _PAPER)
    draw = ImageDraw.Draw(row)
    for column, (cell, lines) in enumerate(zip(cells, texts, strict=True)):
        x = column * (cell_px + _BETWEEN_PX)
        row.paste(Image.fromarray(cell.picture_HWC), (x, 0))
        for i, line in enumerate(lines):
            draw.text((x, below_px + i * _LINE_PX), line, fill=_SOFT_INK if i else _INK, font=font)
    return np.asarray(row)


def _wrapped(text: str, font: Font, room_px: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and (font.getlength(longer) <= room_px or len(lines) == _TEXT_LINES):
            lines[-1] = longer
        else:
            lines.append(word)
    return [_cut(line, font, room_px) for line in lines]


def _cut(text: str, font: Font, room_px: int) -> str:
    """The text, with its middle left out where there is no room: names differ at both ends."""
    kept, shorter = len(text), text
    while kept > 2 and font.getlength(shorter) > room_px:
        kept -= 1
        shorter = f"{text[: kept // 2]}...{text[-(kept - kept // 2) :]}"
    return shorter


def png_of(picture_HWC: NDArray[np.uint8]) -> bytes:
    """An RGB picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture_HWC).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def save_png(picture_HWC: NDArray[np.uint8], path: Path) -> None:
    """Write an RGB picture atomically."""
    write_atomic(path, png_of(picture_HWC))
