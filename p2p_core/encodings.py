"""Pixels <-> network values, for every side of the house: builders, training, inference and pages.

Pixels are what is stored and shown, uint8 (..., bands), and always something a person can look at. Networks see float32
(..., channels) of about -1 to 1. A store and a bundle name their two encodings, so nobody has to pass a flag:

rgb, gray       linear: network = pixel / 127.5 - 1, as in the paper's reference code (spec, section 2)
lab_l           gray levels; network = L* / 50 - 1
lab_ab          RGB pixels; network = a*, b* / 110 (spec, section 3). Back: joined with the L* of the input picture
palette:NAME    RGB pixels of a palette's colours; linear, and what comes back is snapped to the nearest of them
one_hot:NAME    RGB pixels of a palette's colours; network = 1 for the pixel's class, -1 for each other
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import ConfigError
from p2p_core.lab import lab_of_rgb, lightness_of_gray, neutral_gray, rgb_of_lab
from p2p_core.palettes import PALETTES, Palette, palette

__all__ = ["ENCODINGS", "PALETTE_ENCODINGS", "Encoding", "encoding"]

Pixels = NDArray[np.uint8]
Network = NDArray[np.float32]
Resident = Literal["pixels", "network", "classes"]

_RGB_NAMES = ("red", "green", "blue")
_MAX_L, _MAX_AB = np.float32(50), np.float32(110)


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

    @abstractmethod
    def of_rgb(self, rgb: Pixels) -> Pixels:
        """(..., 3) RGB -> (..., bands): the same picture as this encoding's pixels."""

    @abstractmethod
    def to_network(self, pixels: Pixels) -> Network:
        """(..., bands) uint8 -> (..., channels) float32."""

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
        return self.of_rgb(_as_rgb(pixels))

    def to_rgb(self, pixels: Pixels) -> Pixels:
        """(..., bands) pixels -> (..., 3) pixels a person can look at."""
        return _as_rgb(pixels)

    def to_resident(self, pixels: Pixels) -> NDArray[Any]:
        """(..., bands) -> what `resident` says."""
        return self.to_network(pixels) if self.resident == "network" else pixels


@dataclass(frozen=True)
class _Linear(Encoding):
    def of_rgb(self, rgb: Pixels) -> Pixels:
        return _luma(rgb) if self.bands == 1 else rgb

    def to_network(self, pixels: Pixels) -> Network:
        return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)

    def to_pixels(self, network: Network, _input_pixels: Pixels, _source: Encoding, /) -> Pixels:
        scaled: Network = np.rint((network + np.float32(1)) * np.float32(127.5))
        return scaled.clip(0, 255).astype(np.uint8)


@dataclass(frozen=True)
class _LabLightness(Encoding):
    def of_rgb(self, rgb: Pixels) -> Pixels:
        return neutral_gray(rgb)[..., np.newaxis]

    def to_network(self, pixels: Pixels) -> Network:
        return lightness_of_gray(pixels) / _MAX_L - np.float32(1)

    def to_pixels(self, network: Network, _input_pixels: Pixels, _source: Encoding, /) -> Pixels:
        lightness = ((network + np.float32(1)) * _MAX_L)[..., 0]
        return rgb_of_lab(lightness, np.zeros((*lightness.shape, 2), np.float32))[..., :1]


@dataclass(frozen=True)
class _LabColour(Encoding):
    @property
    def completes_input(self) -> bool:
        return True

    def of_rgb(self, rgb: Pixels) -> Pixels:
        return rgb

    def to_network(self, pixels: Pixels) -> Network:
        return lab_of_rgb(pixels)[..., 1:] / _MAX_AB

    def to_pixels(self, network: Network, input_pixels: Pixels, source: Encoding, /) -> Pixels:
        lightness = (
            lightness_of_gray(input_pixels[..., 0]) if source.bands == 1 else lab_of_rgb(source.to_rgb(input_pixels))[..., 0]
        )
        return rgb_of_lab(lightness, network * _MAX_AB)


@dataclass(frozen=True)
class _Palette(_Linear):
    palette: Palette = PALETTES["facades"]

    @property
    def is_palette(self) -> bool:
        return True

    @property
    def takes(self) -> tuple[int, ...]:
        return (1, 3) if self.palette.is_gray else (3,)  # a gray picture of coloured classes is most likely their indices

    def of_rgb(self, rgb: Pixels) -> Pixels:
        return self.palette.snap(rgb)

    def to_pixels(self, network: Network, input_pixels: Pixels, source: Encoding, /) -> Pixels:
        return self.palette.snap(super().to_pixels(network, input_pixels, source))


@dataclass(frozen=True)
class _OneHot(_Palette):
    def to_network(self, pixels: Pixels) -> Network:
        return np.eye(self.channels, dtype=np.float32)[self.palette.classes_of(pixels)] * np.float32(2) - np.float32(1)

    def to_pixels(self, network: Network, _input_pixels: Pixels, _source: Encoding, /) -> Pixels:
        """The most likely class; of equally likely ones the first."""
        return self.palette.colours_of(network.argmax(axis=-1))

    def to_resident(self, pixels: Pixels) -> NDArray[Any]:
        return self.palette.classes_of(pixels)[..., np.newaxis]


def _as_rgb(pixels: Pixels) -> Pixels:
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


def _luma(rgb: Pixels) -> Pixels:
    """(..., 3) -> (..., 1) by Rec. 601, in the integers OpenCV's RGB2GRAY uses."""
    red, green, blue = (rgb[..., band : band + 1].astype(np.uint32) for band in range(3))
    return ((red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15).astype(np.uint8)


ENCODINGS: dict[str, Encoding] = {
    "rgb": _Linear("rgb", 3, 3),
    "gray": _Linear("gray", 1, 1),
    "lab_l": _LabLightness("lab_l", 1, 1, "network"),
    "lab_ab": _LabColour("lab_ab", 3, 2, "network"),
}

PALETTE_ENCODINGS = ("palette", "one_hot")
"""Each with a palette: `palette:NAME`, `one_hot:NAME`."""


@cache
def encoding(name: str) -> Encoding:
    """The encoding of this name. Raises `ConfigError` for a name, or a palette's name, nobody knows."""
    if name in ENCODINGS:
        return ENCODINGS[name]
    kind, colon, palette_name = name.partition(":")
    if kind not in PALETTE_ENCODINGS or not colon:
        known = ", ".join([*ENCODINGS, *(f"{kind}:PALETTE" for kind in PALETTE_ENCODINGS)])
        raise ConfigError(f"Unknown encoding {name!r}", remedy=f"Use one of: {known}; palettes are {', '.join(PALETTES)}")
    colours = palette(palette_name)
    if kind == "palette":
        return _Palette(name, 3, 3, palette=colours)
    return _OneHot(name, 3, len(colours), "classes", palette=colours)
