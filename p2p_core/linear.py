"""What an encoding is: one way from pixels to network values and back. And the linear one, the paper's.

Legend of comments: (..., bands) are pixels, (..., channels) network values.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoding", "Linear", "Network", "Pixels", "as_rgb"]

Pixels = NDArray[Any]
Network = NDArray[np.float32]
Resident = Literal["pixels", "network", "classes"]

_RGB_NAMES = ("red", "green", "blue")


@dataclass(frozen=True)
class Encoding(ABC):
    """One way from pixels to network values and back.

    Attributes:
        bands, channels: of pixels, of network values.
        resident: what training keeps on its device for all pairs: the pixels, the network values (dear to compute), or the
            classes, (..., 1) uint8 (small, and not to be blended).
    """

    name: str
    bands: int
    channels: int
    resident: Resident = "pixels"

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of pixels."""
        return np.dtype(np.uint8)

    @property
    def is_picture(self) -> bool:
        """Whether pixels are an 8-bit gray or RGB picture, and not measurements (`bands`)."""
        return True

    @property
    def completes_input(self) -> bool:
        """Whether `to_pixels` takes part of the picture from the input."""
        return False

    @property
    def is_palette(self) -> bool:
        """Whether pixels have the colours of a palette and no other, and must not be blended when resized."""
        return False

    @property
    def band_names(self) -> tuple[str, ...]:
        return ("gray",) if self.bands == 1 else _RGB_NAMES

    @property
    def takes(self) -> tuple[int, ...]:
        """How many bands a picture may have that `of_picture` turns into this encoding's pixels."""
        return (1, 3)

    def takes_dtype(self, dtype: np.dtype[Any]) -> bool:
        """Whether `of_raster` turns a raster's values of this type into pixels."""
        return dtype == self.dtype

    @abstractmethod
    def of_rgb(self, rgb: Pixels) -> Pixels:
        """(..., 3) RGB -> (..., bands): the same picture as this encoding's pixels."""

    @abstractmethod
    def to_network(self, pixels: Pixels) -> Network:
        """(..., bands) -> (..., channels) float32."""

    @abstractmethod
    def to_pixels(self, network: Network, input_pixels: Pixels, source: Encoding, /) -> Pixels:
        """(..., channels) that a network made of `input_pixels`, which are of the encoding `source` -> (..., bands)."""

    def of_picture(self, pixels: Pixels) -> Pixels:
        """(..., 1 or 3) gray or RGB -> (..., bands). Pictures that have the encoding's bands come back as they are, except that
        colours outside a palette are snapped. Raises `ValueError` for bands that `takes` does not list."""
        if pixels.shape[-1] not in self.takes:
            raise ValueError(f"{self.name} takes pictures of {self.takes} bands, not {pixels.shape[-1]}")
        if pixels.shape[-1] == self.bands == 1:
            return pixels
        return self.of_rgb(as_rgb(pixels))

    def of_raster(self, values: NDArray[Any], measured: NDArray[np.bool_]) -> Pixels:
        """(..., bands) values of a raster whose type `takes_dtype`, and (...) which are measurements -> pixels."""
        del measured  # a picture keeps the raster's own nodata
        return values

    def padding(self, colour: tuple[int, int, int], /) -> Pixels:
        """(bands,): the pixel of a frame around a picture. `colour`: (red, green, blue); not of palettes and bands."""
        return self.of_rgb(np.array([colour], np.uint8)).reshape(-1)

    def to_rgb(self, pixels: Pixels) -> NDArray[np.uint8]:
        """(..., bands) pixels -> (..., 3) uint8 that a person can look at."""
        return as_rgb(pixels)

    def to_grey_levels(self, pixels: Pixels) -> NDArray[Any]:
        """(..., bands) pixels -> as many levels of 0..255, which differences are told in: 8-bit pixels as they are."""
        return pixels

    def of_grey_levels(self, levels: NDArray[np.floating[Any]]) -> Pixels:
        """(..., bands) levels, which may reach beyond 0..255 -> the nearest pixels."""
        pixels: Pixels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        return pixels

    def scaled(self, values: Any) -> Any:
        """Values of pixels in float32, an array or a tensor -> what networks see, where `resident` is `pixels`."""
        return values / 127.5 - 1

    def to_resident(self, pixels: Pixels) -> NDArray[Any]:
        """(..., bands) -> what `resident` says."""
        return self.to_network(pixels) if self.resident == "network" else pixels


@dataclass(frozen=True)
class Linear(Encoding):
    def of_rgb(self, rgb: Pixels) -> Pixels:
        return _luma(rgb) if self.bands == 1 else rgb

    def to_network(self, pixels: Pixels) -> Network:
        network: Network = self.scaled(pixels.astype(np.float32))
        return network

    def to_pixels(self, network: Network, _input_pixels: Pixels, _source: Encoding, /) -> Pixels:
        scaled: Network = np.rint((network + np.float32(1)) * np.float32(127.5))
        return scaled.clip(0, 255).astype(np.uint8)


def as_rgb(pixels: Pixels) -> Pixels:
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def _luma(rgb: Pixels) -> Pixels:
    """(..., 3) -> (..., 1) by Rec. 601, in the integers OpenCV's RGB2GRAY uses."""
    red, green, blue = (rgb[..., band : band + 1].astype(np.uint32) for band in range(3))
    return ((red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15).astype(np.uint8)
