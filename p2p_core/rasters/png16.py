"""PNG with 16 bits a colour: Pillow would cut it to 8, and writes none. Legend: H W pixels, C bands."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["bands_of_16_bit_colour", "decode_16_bit_colour", "encode_16_bit", "upright"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BANDS = {2: 3, 4: 2, 6: 4}
"""PNG's colour type -> RGB, gray with alpha, RGB with alpha."""

_UP = 2
"""The filter that keeps the difference to the row above."""


def bands_of_16_bit_colour(start: bytes) -> int | None:
    """The bands of such a file, by its first 26 bytes; None for every other file, 16-bit gray among them."""
    return _BANDS.get(start[25]) if len(start) > 25 and start.startswith(_SIGNATURE) and start[24] == 16 else None


def decode_16_bit_colour(data: bytes) -> NDArray[np.uint16]:
    """A whole file -> (H, W, C).

    Raises:
        ValueError: it is truncated or damaged; OpenCV would give the rest as black.
    """
    _require_sound(data)
    pixels_HWC = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    bands = bands_of_16_bit_colour(data)
    if pixels_HWC is None or pixels_HWC.dtype != np.uint16 or bands is None:
        raise ValueError("its 16-bit colours cannot be decoded")
    order = {2: [0, 3], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[bands]  # OpenCV gives BGR, and gray as three equal bands
    return np.ascontiguousarray(pixels_HWC[..., order])


def encode_16_bit(pixels_HWC: NDArray[np.uint16], text: Mapping[str, str]) -> bytes:
    """(H, W, 1 or 3) -> a whole file (PNG specification, sections 5 and 11), with `text` by its keys, as UTF-8."""
    height_px, width_px, bands = pixels_HWC.shape
    header = struct.pack(">IIBBBBB", width_px, height_px, 16, {1: 0, 3: 2}[bands], 0, 0, 0)
    rows = np.ascontiguousarray(pixels_HWC.astype(">u2")).view(np.uint8).reshape(height_px, -1)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((height_px, 1), _UP, np.uint8), rows - above], axis=1)
    return b"".join(
        [
            _SIGNATURE,
            _chunk(b"IHDR", header),
            *(_chunk(b"iTXt", key.encode("latin-1") + b"\0\0\0\0\0" + value.encode()) for key, value in text.items()),
            _chunk(b"IDAT", zlib.compress(filtered.tobytes(), 1)),
            _chunk(b"IEND", b""),
        ]
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def upright(pixels_HWC: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """The picture as its EXIF orientation (1..8) wants it seen (EXIF 2.32, tag 274)."""
    if orientation >= 5:
        pixels_HWC = pixels_HWC.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels_HWC = pixels_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        pixels_HWC = pixels_HWC[:, ::-1]
    return np.ascontiguousarray(pixels_HWC)


def _require_sound(data: bytes) -> None:
    """Every chunk whole, of the sum it carries, and the last one there (PNG specification, section 5)."""
    place = len(_SIGNATURE)
    kind = b""
    while kind != b"IEND":
        length = int.from_bytes(data[place : place + 4], "big")
        end = place + 12 + length
        if end > len(data):
            raise ValueError("the image file is truncated")
        kind, content = data[place + 4 : place + 8], data[place + 4 : end - 4]
        if zlib.crc32(content) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"the checksum of its chunk {kind!r} is wrong")
        place = end
