"""Pairs partial palette -> full palette from a directory of pictures. Legend: H W pixels, C bands, N colours, K of the palette.

A palette is a picture's five dominant colours as five upright stripes from dark to light; in the input some are missing.
Pictures may be photos, or palettes already: of a picture with exactly five colours these are taken as they are. Stripes never
pass through a lossy format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from p2p_core.lab import lab_of_rgb
from p2p_core.rasters.protocol import Raster, full_window
from preprocessing.align import resize_nearest
from preprocessing.masking import MaskedParameters, spelt
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.photo_builder import OneDirectoryBuilder, PhotoSource
from preprocessing.photos import rgb_photo
from preprocessing.sizing import PairSize, Placement

__all__ = ["NUM_STRIPES", "PaletteBuilder", "PaletteParameters", "dominant_colours", "stripes"]

NUM_STRIPES = 5

_SAMPLE_PX = 128  # no side of what is looked at is longer
_LAB_STEPS = 256  # a unit: sums and distances are of whole numbers below 2^53, the same in any order on any machine
_MAX_ROUNDS = 50
_NEAR = 8  # levels in red, green and blue, about 3 of L*: hardly anybody sees that in stripes apart

Pixels = NDArray[np.uint8]
Whole = NDArray[np.float64]
Counts = NDArray[np.int64]


class PaletteParameters(MaskedParameters):
    """`num_missing`: of the five stripes; which, is up to `seed` and the picture's name. `fit`: always the whole picture.

    `resize_px`: of the stripes, whatever the pictures' size.
    """

    resize_px: PairSize = (256, 256)
    fit: Literal["stretch"] = "stretch"
    crop_px: None = None
    num_missing: int = Field(default=2, ge=1, lt=NUM_STRIPES)

    @field_validator("resize_px")
    @classmethod
    def _wide_enough(cls, resize_px: tuple[int, int]) -> tuple[int, int]:
        if resize_px[1] < NUM_STRIPES:
            raise ValueError(f"{NUM_STRIPES} stripes need a width of {NUM_STRIPES} px or more, not {resize_px[1]}")
        return resize_px


@dataclass(frozen=True)
class PaletteBuilder(OneDirectoryBuilder):
    """Builder of (stripes of which some are missing, all stripes) pairs.

    Attributes of a pair: `colours`, `000000-ff0000-...` from left to right, and `missing`, the places of those, from 0: `1,3`.
    """

    parameters: PaletteParameters

    name = "palette"
    version = 1
    input_encoding = "rgb"
    target_encoding = "rgb"

    def shown(self, photo: Raster, _placement: Placement, /) -> Pixels:
        """A sample of pixels of the whole picture, whose colours are not blended: (up to 128, up to 128, 3)."""
        height_px, width_px = (min(side_px, _SAMPLE_PX) for side_px in (photo.height_px, photo.width_px))
        return rgb_photo(resize_nearest(photo.read(full_window(photo)), height_px, width_px))

    def pair(self, source: PhotoSource, photo_HWC: Pixels, attributes: Mapping[str, str]) -> Outcome:
        name, wanted = source.source_id, self.parameters
        colours_KC = dominant_colours(photo_HWC)
        if len(colours_KC) < NUM_STRIPES:
            found = f"{len(colours_KC)} colour{'s' if len(colours_KC) > 1 else ''}"
            return Rejected(name, name, "few_colours", f"It holds {found}; a palette has {NUM_STRIPES}", pictures=(photo_HWC,))
        missing = np.sort(wanted.rng(name).choice(NUM_STRIPES, wanted.num_missing, replace=False))
        for colour in np.delete(colours_KC, missing, axis=0).tolist():
            if max(abs(level - of_fill) for level, of_fill in zip(colour, wanted.fill, strict=True)) <= _NEAR:
                detail = f"Its colour {spelt(colour)} can hardly be told from {spelt(wanted.fill)}, the fill of what is missing"
                return Rejected(name, name, "like_fill", detail, pictures=(photo_HWC,))
        partial_KC = colours_KC.copy()
        partial_KC[missing] = wanted.fill
        known = {
            **attributes,
            "colours": "-".join(spelt(colour) for colour in colours_KC.tolist()),
            "missing": ",".join(map(str, missing)),
        }
        halves = stripes(partial_KC, self.size_px()), stripes(colours_KC, self.size_px())
        return Pair(name, name, *halves, attributes=known)


def stripes(colours_KC: Pixels, size_px: tuple[int, int]) -> Pixels:
    """(height, width, 3): the colours side by side; their widths differ by a pixel at most."""
    height_px, width_px = size_px
    row_WC = colours_KC[np.arange(width_px) * len(colours_KC) // width_px]
    return np.repeat(row_WC[np.newaxis], height_px, axis=0)


def dominant_colours(pixels_HWC: Pixels) -> Pixels:
    """(up to 5, 3) colours of the picture, by L* from dark to light: the nearest to each mean of k-means in L*a*b*.

    All its colours where it has no more than five. Nothing here is left to chance: clusters begin as halves of halves.
    """
    codes = pixels_HWC.reshape(-1, 3).astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    known, counts_N = np.unique(codes, return_counts=True)
    colours_NC = np.stack([known >> 16, known >> 8 & 255, known & 255], axis=-1).astype(np.uint8)
    lab_NC: Whole = np.rint(lab_of_rgb(colours_NC).astype(np.float64) * _LAB_STEPS)
    if len(colours_NC) > NUM_STRIPES:
        chosen = _nearest_to_means(lab_NC, counts_N)
        colours_NC, lab_NC = colours_NC[chosen], lab_NC[chosen]
    return colours_NC[np.argsort(lab_NC[:, 0], kind="stable")]


def _nearest_to_means(lab_NC: Whole, counts_N: Counts) -> list[int]:
    """For each cluster its colour that is nearest to its mean."""
    clusters_N = _kmeans(lab_NC, counts_N)
    distances_NK = _distances(lab_NC, _means(lab_NC, counts_N, clusters_N))
    members = [np.flatnonzero(clusters_N == k) for k in range(NUM_STRIPES)]
    return [int(of_k[distances_NK[of_k, k].argmin()]) for k, of_k in enumerate(members)]


def _kmeans(lab_NC: Whole, counts_N: Counts) -> Counts:
    """(N,) cluster of each colour, none of them empty: Lloyd's rounds after `_halves`."""
    clusters_N = _halves(lab_NC, counts_N)
    for _ in range(_MAX_ROUNDS):
        nearest_N: Counts = _distances(lab_NC, _means(lab_NC, counts_N, clusters_N)).argmin(axis=1)
        if np.array_equal(nearest_N, clusters_N) or len(np.unique(nearest_N)) < NUM_STRIPES:
            break
        clusters_N = nearest_N
    return clusters_N


def _halves(lab_NC: Whole, counts_N: Counts) -> Counts:
    """(N,) first clusters: the one of most variance is cut at its mean, across the axis along which it varies most."""
    clusters_N = np.zeros(len(lab_NC), np.int64)
    for new in range(1, NUM_STRIPES):
        offsets_NC = lab_NC - _means(lab_NC, counts_N, clusters_N)[clusters_N]
        spreads_KC = _sums(counts_N[:, np.newaxis] * offsets_NC**2, clusters_N)
        widest = int(spreads_KC.sum(axis=1).argmax())
        clusters_N[(clusters_N == widest) & (offsets_NC[:, spreads_KC[widest].argmax()] > 0)] = new
    return clusters_N


def _means(lab_NC: Whole, counts_N: Counts, clusters_N: Counts) -> Whole:
    """(K, 3), rounded down: below the mean lies at least one colour, above it one where they are not all the same."""
    sums_KC = _sums(np.column_stack([counts_N[:, np.newaxis] * lab_NC, counts_N]), clusters_N)
    means_KC: Whole = np.floor(sums_KC[:, :-1] / np.maximum(sums_KC[:, -1:], 1))
    return means_KC


def _sums(values_NV: Whole, clusters_N: Counts) -> Whole:
    """(K, V) over each cluster; 0 for one that is not there yet."""
    sums_KV: Whole = (np.arange(NUM_STRIPES)[:, np.newaxis] == clusters_N).astype(np.float64) @ values_NV
    return sums_KV


def _distances(lab_NC: Whole, means_KC: Whole) -> Whole:
    """(N, K), squared."""
    products_NK = lab_NC @ means_KC.T
    squared: Whole = np.square(lab_NC).sum(axis=1, keepdims=True) - 2 * products_NK + np.square(means_KC).sum(axis=1)
    return squared
