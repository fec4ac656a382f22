"""PNG, JPEG and WebP without a place on the Earth, through Pillow.

The content decides, not the suffix. The header alone is read at first: size, bands and dtype are known, and bombs are
refused, before a pixel is decoded. The first `read` decodes the whole image once; Pillow keeps it (4 bytes a pixel for
RGB) until `close`. EXIF orientation is applied. An animation gives its first frame; ICC profiles are not applied.
"""

from __future__ import annotations

import mmap
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from p2p_core.errors import RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.png16 import bands_of_16_bit_colour, decode_16_bit_colour, upright
from p2p_core.rasters.protocol import Raster, require_inside

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "ImageRaster"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

MAX_PIXELS = 2**28
"""Larger images are refused as decompression bombs. Pillow itself stops WebP at 178,956,970 pixels."""

_STRIP_PIXELS = 2**16
"""What is copied several times on its way stays in a core's cache."""
# Asked directly, a decoder neither guesses among all of Pillow's formats nor applies Pillow's global limit.
_DECODERS: dict[bytes, type[ImageFile.ImageFile]] = {
    rb"\x89PNG": PngImageFile,
    rb"\xff\xd8\xff": JpegImageFile,
    rb"RIFF....WEBP": WebPImageFile,
}
# Everything that truncated and flipped bytes were seen or are documented to raise inside those three.
_DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, OverflowError, zlib.error)

_PLAIN_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "RGB": "RGB",
    "RGBA": "RGBA",
    "P": "RGB",
    "PA": "RGBA",
    "CMYK": "RGB",
    "YCbCr": "RGB",
}
_ALPHA_MODES = {"1": "LA", "L": "LA", "P": "RGBA", "RGB": "RGBA"}
_GRAY_16_BIT = "I;16"
_COLOUR_16_BIT = {2: "LA;16", 3: "RGB;16", 4: "RGBA;16"}
_BANDS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, _GRAY_16_BIT: 1, **{mode: bands for bands, mode in _COLOUR_16_BIT.items()}}

_UPRIGHT = {  # EXIF orientation -> what brings the picture upright (EXIF 2.32, tag 274)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_AXES = (5, 6, 7, 8)


@dataclass(frozen=True)
class _Header:
    height_px: int
    width_px: int
    mode: str
    orientation: int
    nodata: float | None
    is_png: bool


class ImageRaster(Raster):
    """One image file. Holds no open file; `close` forgets the decoded pixels.

    Gray stays one band, 16 bits stay uint16, palettes and CMYK become RGB, alpha is a band of its own.

    Raises:
        RasterError: empty, truncated, not an image, or of more than `max_pixels`.
    """

    def __init__(self, path: Path, *, max_pixels: int = MAX_PIXELS) -> None:
        self.name = str(path)
        self.crs = self.transform = None
        self._path = path
        self._pixels: Image.Image | NDArray[np.uint16] | None = None
        with _readable(path), path.open("rb") as file:
            self._header = _read_header(file, path, max_pixels)
        self.height_px, self.width_px = self._header.height_px, self._header.width_px
        self.bands = _BANDS[self._header.mode]
        self.dtype = np.dtype(np.uint16 if ";16" in self._header.mode else np.uint8)
        self.nodata = self._header.nodata

    def read(self, window: Window) -> NDArray[Any]:
        require_inside(window, self)
        if self._pixels is None:
            self._pixels = _decode(self._path, self._header)
        if isinstance(self._pixels, np.ndarray):
            return self._pixels[window.slices].copy()
        out = np.empty((window.height_px, window.width_px, self.bands), self.dtype)
        if out.size == 0:
            return out
        # numpy's view of a Pillow image costs two copies of it: go strip by strip.
        strip_px = max(1, _STRIP_PIXELS // window.width_px)
        for top in range(0, window.height_px, strip_px):
            bottom = min(top + strip_px, window.height_px)
            box = (window.x_px, window.y_px + top, window.x_end_px, window.y_px + bottom)
            out[top:bottom] = np.asarray(self._pixels.crop(box)).reshape(bottom - top, window.width_px, self.bands)
        return out

    def read_indices(self) -> NDArray[np.uint8] | None:
        """(H, W) class indices of a whole label picture: indices into a PNG's own palette, or the levels of a gray PNG.

        None where the picture has colours instead. Raises `RasterError` where its levels cannot be trusted to be indices.
        """
        with _readable(self._path), self._path.open("rb") as file:
            image = _identify(file, file.read(32), self._path)
            if image.mode not in ("P", "1") and (self.bands != 1 or self.dtype != np.uint8):
                return None
            if not self._header.is_png:
                raise RasterError(
                    f"{self.name} is gray and not PNG: compression may have changed its class indices",
                    remedy="Export label pictures as PNG",
                    reason="unsupported",
                )
            image.load()
            upright = _UPRIGHT.get(self._header.orientation)
            return np.asarray(image if upright is None else image.transpose(upright)).astype(np.uint8)

    def close(self) -> None:
        self._pixels = None


def _read_header(file: BinaryIO, path: Path, max_pixels: int) -> _Header:
    start = file.read(32)
    if not start:
        raise RasterError(f"{path} is empty", remedy="Fetch or export it again", reason="empty")
    image = _identify(file, start, path)
    width_px, height_px = image.size
    if width_px * height_px > max_pixels:
        raise _bomb(path, f"{width_px} x {height_px} pixels", max_pixels)
    orientation = _orientation(image, file)
    if orientation in _SWAPS_AXES:
        width_px, height_px = height_px, width_px
    bands = bands_of_16_bit_colour(start)
    if bands and "transparency" in image.info:
        raise RasterError(
            f"{path} has 16-bit colours and one colour that is transparent",
            remedy="Give it an alpha band instead, or convert it to GeoTIFF",
            reason="unsupported",
        )
    mode, nodata = (_COLOUR_16_BIT[bands], None) if bands else _decoded_mode(image, path)
    return _Header(height_px, width_px, mode, orientation, nodata, isinstance(image, PngImageFile))


def _identify(file: BinaryIO, start: bytes, path: Path) -> ImageFile.ImageFile:
    file.seek(0)
    for magic, decoder in _DECODERS.items():
        if re.match(magic, start, re.DOTALL):
            return decoder(file)
    raise RasterError(
        f"{path} is not a PNG, JPEG or WebP image: it begins with {start[:8]!r}",
        remedy="Check where it came from, or give it the suffix of what it is",
    )


def _decoded_mode(image: ImageFile.ImageFile, path: Path) -> tuple[str, float | None]:
    """Pillow's mode after decoding, and the gray value that 16-bit PNGs may declare transparent."""
    transparency = image.info.get("transparency")
    if image.mode == _GRAY_16_BIT:
        return _GRAY_16_BIT, None if transparency is None else float(transparency)
    modes = _PLAIN_MODES if transparency is None else {**_PLAIN_MODES, **_ALPHA_MODES}
    if image.mode not in modes:
        raise RasterError(
            f"{path} has pixels of the kind {image.mode!r}", remedy="Convert it to gray or RGB", reason="unsupported"
        )
    return modes[image.mode], None


def _orientation(image: ImageFile.ImageFile, file: BinaryIO) -> int:
    if isinstance(image, PngImageFile) and "exif" not in image.info and _contains(file, b"eXIf"):
        image.load()  # a PNG may tell its orientation after its pixels
    with warnings.catch_warnings():
        # Metadata that cannot be parsed says nothing about the pixels, nor about their orientation.
        warnings.simplefilter("ignore", UserWarning)
        try:
            # Not image.getexif(): for PNG that decodes every pixel.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
        except _DECODER_ERRORS:
            return 1
    return orientation if orientation in _UPRIGHT else 1


def _contains(file: BinaryIO, needle: bytes) -> bool:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(needle) >= 0


def _decode(path: Path, header: _Header) -> Image.Image | NDArray[np.uint16]:
    if header.mode in _COLOUR_16_BIT.values():
        with _readable(path):
            return upright(decode_16_bit_colour(path.read_bytes()), header.orientation)
    with _readable(path), path.open("rb") as file:
        image = _identify(file, file.read(32), path)
        image.load()
        pixels: Image.Image = image if image.mode == header.mode else image.convert(header.mode)
        return pixels.transpose(_UPRIGHT[header.orientation]) if header.orientation in _UPRIGHT else pixels


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what the decoders raise into `RasterError`."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise _bomb(path, str(error), MAX_PIXELS) from error
    except _DECODER_ERRORS as error:
        if _is_cut_short(path, error):
            raise RasterError(
                f"{path} ends too early: {error}", remedy="Fetch or export it again", reason="truncated"
            ) from error
        raise RasterError(f"{path} cannot be decoded: {error}", remedy="Fetch or export it again") from error


def _is_cut_short(path: Path, error: Exception) -> bool:
    if "truncated" in str(error).lower():
        return True
    try:
        with path.open("rb") as file:
            start = file.read(12)
        # WebP says how long it is; its decoder does not say that bytes are missing.
        return (
            start.startswith(b"RIFF")
            and start.endswith(b"WEBP")
            and int.from_bytes(start[4:8], "little") + 8 > path.stat().st_size
        )
    except OSError:
        return False


def _bomb(path: Path, size: str, max_pixels: int) -> RasterError:
    return RasterError(
        f"{path} is refused as a decompression bomb: {size}, and the limit is {max_pixels}",
        remedy="If it is what you expect, convert it to a tiled GeoTIFF, which is read window by window",
        reason="bomb",
    )
