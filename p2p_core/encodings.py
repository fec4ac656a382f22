"""Pixels <-> network values, for every side of the house: builders, training, inference and pages.

Pixels are what is stored, (..., bands): uint8 and a picture, except that `bands` holds what an instrument measured. Networks
see float32 (..., channels) of about -1 to 1. A store and a bundle name their two encodings, so nobody has to pass a flag:

rgb, gray       linear: network = pixel / 127.5 - 1, as in the paper's reference code (spec, section 2)
lab_l           gray levels; network = L* / 50 - 1
lab_ab          RGB pixels; network = a*, b* / 110 (spec, section 3). Back: joined with the L* of the input picture
palette:NAME    RGB pixels of a palette's colours; linear, and what comes back is snapped to the nearest of them
one_hot:NAME    RGB pixels of a palette's colours; network = 1 for the pixel's class, -1 for each other
bands:...       1 to 16 bands of uint8, uint16 or float32, linear between two values that the name tells (`bands.py`)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.bands import KIND, bands_encoding
from p2p_core.errors import ConfigError
from p2p_core.lab import lab_of_rgb, lightness_of_gray, neutral_gray, rgb_of_lab
from p2p_core.linear import Encoding, Linear, Network, Pixels
from p2p_core.palettes import PALETTES, Palette, palette

__all__ = ["ENCODINGS", "PALETTE_ENCODINGS", "Encoding", "encoding", "pixel_dtype"]

_MAX_L, _MAX_AB = np.float32(50), np.float32(110)


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
class _Palette(Linear):
    palette: Palette = PALETTES["facades"]

    @property
    def is_palette(self) -> bool:
        return True

    @property
    def takes(self) -> tuple[int, ...]:
        return (1, 3) if self.palette.is_gray else (3,)  # a gray picture of coloured classes is most likely their indices

    def of_rgb(self, rgb: Pixels) -> Pixels:
        return self.palette.snap(rgb)

    def padding(self, _colour: tuple[int, int, int], /) -> Pixels:
        """Void, or the first class of a palette that has none: any other colour would claim to show something."""
        return np.array(self.palette.colours[self.palette.void or 0], np.uint8)

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


ENCODINGS: dict[str, Encoding] = {
    "rgb": Linear("rgb", 3, 3),
    "gray": Linear("gray", 1, 1),
    "lab_l": _LabLightness("lab_l", 1, 1, "network"),
    "lab_ab": _LabColour("lab_ab", 3, 2, "network"),
}

PALETTE_ENCODINGS = ("palette", "one_hot")
"""Each with a palette: `palette:NAME`, `one_hot:NAME`."""


@cache
def encoding(name: str) -> Encoding:
    """The encoding of this name. Raises `ConfigError` for a name, a palette's name or a scale that nobody knows."""
    if name in ENCODINGS:
        return ENCODINGS[name]
    kind, colon, palette_name = name.partition(":")
    if kind == KIND:
        return bands_encoding(name)
    if kind not in PALETTE_ENCODINGS or not colon:
        known = ", ".join([*ENCODINGS, *(f"{kind}:PALETTE" for kind in PALETTE_ENCODINGS), f"{KIND}:..."])
        raise ConfigError(f"Unknown encoding {name!r}", remedy=f"Use one of: {known}; palettes are {', '.join(PALETTES)}")
    colours = palette(palette_name)
    if kind == "palette":
        return _Palette(name, 3, 3, palette=colours)
    return _OneHot(name, 3, len(colours), "classes", palette=colours)


def pixel_dtype(*names: str) -> str:
    """The one type of these encodings' pixels, or `mixed`."""
    dtypes = {str(encoding(name).dtype) for name in names}
    return dtypes.pop() if len(dtypes) == 1 else "mixed"
