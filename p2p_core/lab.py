"""CIE L*a*b* of sRGB colours (IEC 61966-2-1, D65): true L* in 0..100 and signed a*, b*, not OpenCV's 8-bit packing.

XYZ is divided by the white that the matrix itself gives, so that every gray has a* = b* = 0 to rounding. Colours are (..., 3).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["lab_of_rgb", "lightness_of_gray", "neutral_gray", "rgb_of_lab"]

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
_TO_RELATIVE = _TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)
_FROM_RELATIVE = np.linalg.inv(_TO_RELATIVE).astype(np.float32)
_LUMINANCE = _TO_RELATIVE[1].astype(np.float32)

_KNEE = 6 / 29  # below it, cube roots go over into a line
_SLOPE, _OFFSET = 1 / (3 * _KNEE**2), 4 / 29

_MAX_SHIFT = np.float32(0.5)
"""Of L*, where a colour that sRGB has not is clipped: about one gray level, which nobody sees."""
_BISECTIONS = 10


def _linear_table() -> Floats:
    share = np.arange(256) / 255
    linear: Floats = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return linear


_LINEAR = _linear_table()
_LINEAR_SHARES = (_LINEAR.astype(np.float64)[:, np.newaxis] * _TO_RELATIVE[1]).astype(np.float32)[np.newaxis]
"""(1, 256, 3): what a level of red, green and blue adds to the luminance."""


def lab_of_rgb(rgb: Pixels) -> Floats:
    """(..., 3) uint8 -> (..., 3) float32: L* 0..100, a*, b*."""
    relative = _LINEAR[rgb] @ _TO_RELATIVE.T.astype(np.float32)
    roots = _roots(relative)
    x, y, z = roots[..., 0], roots[..., 1], roots[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1, dtype=np.float32)


def _roots(relative: Floats) -> Floats:
    line = relative * np.float32(_SLOPE) + np.float32(_OFFSET)
    roots: Floats = np.where(relative > _KNEE**3, np.cbrt(relative), line)
    return roots


def lightness_of_gray(gray: Pixels) -> Floats:
    """uint8 gray levels of any shape -> L* of the same shape."""
    lightness: Floats = _LIGHTNESS[gray]
    return lightness


_LIGHTNESS = lab_of_rgb(np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], 3, axis=1))[:, 0]


def neutral_gray(rgb: Pixels) -> Pixels:
    """(..., 3) uint8 -> (...) uint8: the gray level of the same L*. A gray keeps its level."""
    shares = cv2.LUT(np.ascontiguousarray(rgb).reshape(-1, 1, 3), _LINEAR_SHARES)
    return _encoded(cv2.transform(shares, np.ones((1, 3), np.float32)).reshape(rgb.shape[:-1]))


def rgb_of_lab(lightness: Floats, ab: Floats) -> Pixels:
    """L* (...) and a*, b* (..., 2) -> (..., 3) uint8, whose L* is the one asked for to 0.5 and the rounding of pixels.

    A colour that sRGB has not is clipped where that changes L* by no more. Elsewhere it loses as much chroma as it must and
    all but keeps its hue: the gray of L* is always there. Clipping alone would change how light a picture is, by tens of
    levels; keeping L* to the last digit would wash out bright yellows, whose chroma hangs on tenths of L*.
    """
    linear = _linear_rgb(lightness, ab)
    outside = ~_fits(linear, lightness)
    if outside.any():
        linear[outside] = _pulled_in(lightness[outside], ab[outside])
    return _encoded(linear)


def _fits(linear: Floats, lightness: Floats) -> NDArray[np.bool_]:
    shift = 116 * _roots(linear.clip(0, 1) @ _LUMINANCE) - 16 - lightness
    fits: NDArray[np.bool_] = np.abs(shift) <= _MAX_SHIFT
    return fits


def _pulled_in(lightness: Floats, ab: Floats) -> Floats:
    """Linear RGB of the largest share of each chroma that fits, found by halving; (N,) and (N, 2) -> (N, 3)."""
    fits, fails = np.zeros_like(lightness), np.ones_like(lightness)
    for _ in range(_BISECTIONS):
        share: Floats = (fits + fails) / np.float32(2)
        inside = _fits(_linear_rgb(lightness, ab * share[:, np.newaxis]), lightness)
        fits, fails = np.where(inside, share, fits), np.where(inside, fails, share)
    return _linear_rgb(lightness, (ab * fits[:, np.newaxis]).astype(np.float32))


def _linear_rgb(lightness: Floats, ab: Floats) -> Floats:
    y = (lightness + np.float32(16)) / np.float32(116)
    roots = np.stack([y + ab[..., 0] / 500, y, y - ab[..., 1] / 200], axis=-1, dtype=np.float32)
    relative = np.where(roots > _KNEE, roots**3, (roots - np.float32(_OFFSET)) / np.float32(_SLOPE))
    linear: Floats = relative.astype(np.float32) @ _FROM_RELATIVE.T
    return linear


def _encoded(linear: Floats) -> Pixels:
    """Linear light of any shape -> sRGB levels, clipped and rounded; by tables, for powers take long."""
    light = linear.clip(0, 1)
    levels: Pixels = _LEVEL_OF_BIN[(light * np.float32(_NUM_BINS)).astype(np.intp)]
    levels += light >= _NEXT_LEVEL[levels]
    return levels


def _srgb(light: Floats) -> Floats:
    """Linear light in 0..1 -> sRGB in 0..255, not rounded."""
    power = np.float32(1.055) * light ** np.float32(1 / 2.4) - np.float32(0.055)
    return np.where(light <= 0.0031308, light * np.float32(12.92), power) * np.float32(255)


def _level_starts() -> Floats:
    """(255,): the least light that rounds to level 1, 2, ... 255, by halving: floats of one sign are ordered as their bits."""
    below, starts = np.zeros(255, np.int32), np.full(255, np.float32(1).view(np.int32))
    while (starts - below > 1).any():
        middle = (below + starts) // 2
        reaches = np.rint(_srgb(middle.view(np.float32))) > np.arange(255)
        starts, below = np.where(reaches, middle, starts), np.where(reaches, below, middle)
    return starts.view(np.float32)


_NUM_BINS = 4096
"""Levels lie further apart than a bin is wide, so at most one of them begins in each."""
_LEVEL_STARTS = _level_starts()
_LEVEL_OF_BIN = np.searchsorted(_LEVEL_STARTS, np.arange(_NUM_BINS + 1, dtype=np.float32) / _NUM_BINS, side="right").astype(
    np.uint8
)
_NEXT_LEVEL = np.append(_LEVEL_STARTS, np.float32(np.inf))
