"""`bands:COUNT:DTYPE:LOW:HIGH`: what the name of a measuring instrument's pixels says, and its arithmetic.

1 to 16 bands of uint8, uint16 or float32 are linear in the network: LOW is -1, HIGH is +1, what lies outside is cut to them.
The other way the scale is the same, rounded for integers. uint8 and uint16 have their whole range unless another is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import ConfigError
from p2p_core.linear import Encoding, Linear, Network, Pixels, as_rgb

__all__ = ["KIND", "MAX_BANDS", "BandScale", "Bands", "bands_encoding"]

KIND = "bands"
MAX_BANDS = 16
_DTYPES = {name: np.dtype(name) for name in ("uint8", "uint16", "float32")}
_LARGEST = 1e30
"""Of a float's range: its width is finite in float32 too."""

V = TypeVar("V", NDArray[Any], Any)


@dataclass(frozen=True)
class BandScale:
    """`low`, `high`: the pixels that networks see as -1 and +1."""

    bands: int
    dtype: np.dtype[Any]
    low: float
    high: float

    @property
    def name(self) -> str:
        """One name for one scale, however it was written."""
        return f"{KIND}:{self.bands}:{self.dtype}:{_number(self.low)}:{_number(self.high)}"

    @property
    def fill(self) -> float:
        """What pixels without a measurement hold: 0, or the end of the range that is nearest to it."""
        return min(max(0.0, self.low), self.high)

    def to_network(self, values: V) -> V:
        """float32 pixels, an array or a tensor, -> -1 to 1."""
        return ((values - self.low) / (self._width / 2) - 1).clip(-1, 1)

    def to_pixels(self, network: NDArray[np.float32]) -> NDArray[Any]:
        """The nearest pixels that there are in the range."""
        return self._pixels_at((network.astype(np.float64) + 1) / 2)

    def to_grey_levels(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """255ths of the range; NaN stays."""
        share: Any = (pixels.astype(np.float32).clip(self.low, self.high) - self.low) * (255 / self._width)
        return np.asarray(share, np.float32)

    def of_grey_levels(self, levels: NDArray[np.floating[Any]]) -> NDArray[Any]:
        return self._pixels_at(levels.astype(np.float64) / 255)

    @property
    def _width(self) -> float:
        return self.high - self.low

    def _pixels_at(self, share: NDArray[np.float64]) -> NDArray[Any]:
        values = share.clip(0, 1) * self._width + self.low
        return (values if self.dtype.kind == "f" else np.rint(values)).astype(self.dtype)


@dataclass(frozen=True)
class Bands(Linear):
    """`scale` says everything; a picture of gray or RGB is not taken for measurements."""

    scale: BandScale = BandScale(1, np.dtype(np.uint8), 0, 255)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.scale.dtype

    @property
    def is_picture(self) -> bool:
        return False

    @property
    def band_names(self) -> tuple[str, ...]:
        return tuple(f"band {number}" for number in range(1, self.bands + 1))

    @property
    def takes(self) -> tuple[int, ...]:
        return (self.bands,)

    def takes_dtype(self, dtype: np.dtype[Any]) -> bool:
        """Types whose every value is one of `dtype`; for float32 also those that it rounds."""
        return dtype.kind in "uif" and (self.dtype.kind == "f" or np.can_cast(dtype, self.dtype))

    def of_rgb(self, _rgb: Pixels, /) -> Pixels:
        raise ValueError(f"{self.name} is not made of RGB pictures")

    def of_picture(self, pixels: Pixels) -> Pixels:
        if pixels.shape[-1] != self.bands:
            raise ValueError(f"{self.name} takes {self.bands} bands, not {pixels.shape[-1]}")
        return pixels

    def of_raster(self, values: NDArray[Any], measured: NDArray[np.bool_]) -> Pixels:
        """What was not measured is `scale.fill`, so that no nodata value is taken for a very low measurement."""
        with np.errstate(over="ignore"):  # such a value of float64 becomes infinite
            pixels = values.astype(self.dtype)
        pixels[~measured] = self.scale.fill
        return pixels

    def padding(self, _colour: tuple[int, int, int], /) -> Pixels:
        """Nothing was measured in a frame."""
        return np.full(self.bands, self.scale.fill, self.dtype)

    def scaled(self, values: Any) -> Any:
        return self.scale.to_network(values)

    def to_pixels(self, network: Network, _input_pixels: Pixels, _source: Encoding, /) -> Pixels:
        return self.scale.to_pixels(network)

    def to_grey_levels(self, pixels: Pixels) -> NDArray[np.float32]:
        return self.scale.to_grey_levels(pixels)

    def of_grey_levels(self, levels: NDArray[np.floating[Any]]) -> Pixels:
        return self.scale.of_grey_levels(levels)

    def to_rgb(self, pixels: Pixels) -> NDArray[np.uint8]:
        """The first three bands, or of fewer the first in gray; what is no number is black."""
        shown = pixels[..., :3] if self.bands >= 3 else pixels[..., :1]
        return as_rgb(np.rint(np.nan_to_num(self.to_grey_levels(shown))).astype(np.uint8))


def bands_encoding(name: str) -> Bands:
    """The encoding of a name `bands:...`. Raises `ConfigError`: the name tells no scale."""
    scale = _parsed(name)
    return Bands(scale.name, scale.bands, scale.bands, scale=scale)


def _parsed(name: str) -> BandScale:
    _, *fields = name.split(":")
    if len(fields) not in (2, 4):
        raise _bad(name, "it has other parts than a count, a dtype and a range")
    count, dtype_name, *limits = fields
    if not (count.isascii() and count.isdecimal() and 1 <= int(count) <= MAX_BANDS and str(int(count)) == count):
        raise _bad(name, f"{count!r} is no number of bands, 1 to {MAX_BANDS}")
    if dtype_name not in _DTYPES:
        raise _bad(name, f"{dtype_name!r} is none of {', '.join(_DTYPES)}")
    dtype = _DTYPES[dtype_name]
    if not limits and dtype.kind == "f":
        raise _bad(name, "float32 has no range of its own")
    low, high = (_limit(text, name) for text in limits) if limits else (0.0, float(np.iinfo(dtype).max))
    if dtype.kind == "u" and not (low.is_integer() and high.is_integer() and 0 <= low < high <= np.iinfo(dtype).max):
        raise _bad(name, f"its range is none of whole {dtype}, from lower to higher, 0 to {np.iinfo(dtype).max}")
    if not np.float32(low) < np.float32(high) or max(abs(low), abs(high)) > _LARGEST:
        raise _bad(name, "its range is none of float32, from lower to higher")
    return BandScale(int(count), dtype, low, high)


def _limit(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _bad(name, f"{text!r} is no number")
    return value + 0.0  # -0 is 0


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def _bad(name: str, why: str) -> ConfigError:
    return ConfigError(
        f"{name!r} is no encoding of bands: {why}",
        remedy=f"Write {KIND}:COUNT:DTYPE:LOW:HIGH, for example bands:4:uint16:0:3000 or bands:1:float32:-1:1; "
        "LOW and HIGH are the pixels that networks see as -1 and 1, and may be left out for uint8 and uint16",
    )
