"""Pixels <-> network tensors, for every side of the house: builders, training, inference and pages.

Shapes: `_HWC` pixels as stored and shown, `_NHWC` a batch of them; networks see floats in [-1, 1].
A store and a bundle name their encodings by the keys of `ENCODINGS`, so nobody has to pass a flag.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import ConfigError

__all__ = ["ENCODINGS", "Encoding", "encoding"]


@dataclass(frozen=True)
class Encoding:
    """Linear 8-bit encoding: network = pixel / 127.5 - 1, as in the paper's reference code (spec, section 2)."""

    name: str
    bands: int
    band_names: tuple[str, ...]

    def to_network(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 0..255 of any shape -> float32 -1..1 of the same shape."""
        return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)

    def to_pixels(self, network: NDArray[np.float32]) -> NDArray[np.uint8]:
        """float32 of any shape -> uint8, rounded to nearest and clipped."""
        scaled: NDArray[np.float32] = np.rint((network + np.float32(1)) * np.float32(127.5))
        return scaled.clip(0, 255).astype(np.uint8)

    def to_rgb(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(..., bands) pixels -> (..., 3) pixels a person can look at."""
        return np.repeat(pixels, 3, axis=-1) if self.bands == 1 else pixels


ENCODINGS: dict[str, Encoding] = {
    "rgb": Encoding("rgb", 3, ("red", "green", "blue")),
    "gray": Encoding("gray", 1, ("gray",)),
}


def encoding(name: str) -> Encoding:
    """The encoding of this name. Raises `ConfigError` for a name nobody knows."""
    if name not in ENCODINGS:
        raise ConfigError(f"Unknown encoding {name!r}", remedy=f"Use one of: {', '.join(ENCODINGS)}")
    return ENCODINGS[name]
