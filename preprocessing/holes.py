"""Pairs photo with a hole -> whole photo from a directory of photos: inpainting. Legend: H W pixels, C bands.

As in the paper's table of datasets (hole -> filled; context encoders, Pathak et al. 2016). The target is the photo as it is,
and outside the hole the input has its very pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from preprocessing.masking import MaskedParameters
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.photo_builder import OneDirectoryBuilder, PhotoSource
from preprocessing.quality import largest_std

__all__ = ["HolesBuilder", "HolesParameters", "hole_mask"]

Hole = Literal["centre", "rectangles", "strokes", "random"]
Mask = NDArray[np.bool_]


class HolesParameters(MaskedParameters):
    """`hole`: `centre`, in the middle and of the picture's aspect; or by chance `rectangles`, `strokes` or, `random`, both.

    `area_share`: of the picture's pixels that are in the hole. The figures of reference codes are of sides: the 50 % x 50 % of
    pix2pix's Lua code is 0.25 here, and the 30 % x 30 % of the TensorFlow tools 0.09. Holes by chance have exactly this share,
    to the rounding of one pixel; a centre rounds its sides.
    """

    hole: Hole = "centre"
    area_share: float = Field(default=0.25, gt=0, lt=1)

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        # Photos in a frame, and those that keep their size, are as large as they are: each is asked when it is its turn.
        if self.pair_px and self.fit != "pad" and (problem := _no_hole(self.hole, self.pair_px, self.area_share)):
            raise ValueError(problem)
        if self.hole == "centre" and self.seed:
            raise ValueError("a seed has no part in hole=centre; use hole=random, rectangles or strokes, or leave it out")
        return self


@dataclass(frozen=True)
class HolesBuilder(OneDirectoryBuilder):
    """Builder of (photo with a hole, photo) pairs. The attribute `hole` of a pair is the parameter."""

    parameters: HolesParameters

    name = "holes"
    version = 1
    input_encoding = "rgb"
    target_encoding = "rgb"

    def pair(self, source: PhotoSource, photo_HWC: NDArray[np.uint8], attributes: Mapping[str, str]) -> Outcome:
        wanted = self.parameters
        size_px = photo_HWC.shape[0], photo_HWC.shape[1]
        if problem := _no_hole(wanted.hole, size_px, wanted.area_share):
            return Rejected(source.source_id, source.source_id, "size", problem)
        mask_HW = hole_mask(wanted.hole, size_px, wanted.area_share, wanted.rng(source.source_id))
        # The hole's own colour varies the input; what is left of the photo has to.
        left = largest_std(photo_HWC[~mask_HW][:, np.newaxis])
        if left < wanted.quality.min_std:
            detail = f"What the hole leaves varies by {left:.2f} grey levels, less than {wanted.quality.min_std:g}"
            return Rejected(source.source_id, source.source_id, "uniform", detail, pictures=(photo_HWC,))
        input_HWC = photo_HWC.copy()
        input_HWC[mask_HW] = wanted.fill
        return Pair(source.source_id, source.source_id, input_HWC, photo_HWC, attributes={**attributes, "hole": wanted.hole})


def hole_mask(hole: Hole, size_px: tuple[int, int], area_share: float, rng: np.random.Generator) -> Mask:
    """(H, W), True in the hole. A smaller share has smaller parts, not fewer.

    Each part of a hole by chance may lie over others and reach over the border; they are drawn until the share is full, and
    of the last the pixels about its middle are taken, as many as are wanted.
    """
    mask_HW = np.zeros(size_px, bool)
    if hole == "centre":
        (height_px, width_px), (tall_px, wide_px) = size_px, _centre_px(size_px, area_share)
        top, left = (height_px - tall_px) // 2, (width_px - wide_px) // 2
        mask_HW[top : top + tall_px, left : left + wide_px] = True
        return mask_HW
    left_px = _num_px(hole, size_px, area_share)
    for part_HW in _parts(hole, size_px, math.sqrt(area_share), rng):
        rows, columns = np.nonzero(part_HW & ~mask_HW)
        if len(rows) > left_px:
            kept = _about_middle(rows, columns, left_px)
            rows, columns = rows[kept], columns[kept]
        mask_HW[rows, columns] = True
        left_px -= len(rows)
        if not left_px:
            break
    return mask_HW


def _no_hole(hole: Hole, size_px: tuple[int, int], area_share: float) -> str:
    """Why such a picture can have no such hole; empty where it can."""
    hole_px, all_px = _num_px(hole, size_px, area_share), math.prod(size_px)
    if 0 < hole_px < all_px:
        return ""
    left = "nothing is left" if hole_px else "no pixel is in a hole"
    return f"area_share {area_share:g} of {size_px[1]}x{size_px[0]} px: {left}"


def _about_middle(rows: NDArray[np.intp], columns: NDArray[np.intp], num: int) -> NDArray[np.intp]:
    """Which `num` of these places lie in the smallest square about the middle of all: no sliver, as the first ones would be."""
    off_y, off_x = (np.abs(2 * places - places.min() - places.max()) for places in (rows, columns))
    return np.argsort(np.maximum(off_y, off_x), kind="stable")[:num]


def _num_px(hole: Hole, size_px: tuple[int, int], area_share: float) -> int:
    return math.prod(_centre_px(size_px, area_share)) if hole == "centre" else round(math.prod(size_px) * area_share)


def _centre_px(size_px: tuple[int, int], area_share: float) -> tuple[int, int]:
    height_px, width_px = (round(side_px * math.sqrt(area_share)) for side_px in size_px)
    return height_px, width_px


def _parts(hole: Hole, size_px: tuple[int, int], scale: float, rng: np.random.Generator) -> Iterator[Mask]:
    """Masks without end. `scale`: side of a square hole as a share of the picture's."""
    kinds = {"rectangles": (_rectangle,), "strokes": (_stroke,)}.get(hole, (_rectangle, _stroke))
    while True:
        yield from kinds[rng.integers(len(kinds))](size_px, scale, rng)


def _rectangle(size_px: tuple[int, int], scale: float, rng: np.random.Generator) -> Iterator[Mask]:
    """One, about any pixel."""
    mask_HW = np.zeros(size_px, bool)
    spans = []
    for side_px in size_px:
        length_px = max(1, round(side_px * scale * rng.uniform(0.25, 0.75)))
        begin = int(rng.integers(side_px)) - length_px // 2
        spans.append(slice(max(begin, 0), begin + length_px))
    mask_HW[tuple(spans)] = True
    yield mask_HW


def _stroke(size_px: tuple[int, int], scale: float, rng: np.random.Generator) -> Iterator[Mask]:
    """The straight pieces of a bent line of one thickness, from any pixel on; it ends where it leaves the picture."""
    height_px, width_px = size_px
    reach_px = scale * min(size_px)
    thickness_px = max(1, round(reach_px * rng.uniform(0.1, 0.25)))
    y, x, angle = rng.uniform(0, height_px), rng.uniform(0, width_px), rng.uniform(0, 2 * math.pi)
    for _ in range(rng.integers(3, 9)):
        begin = int(x), int(y)
        length_px = max(1.0, reach_px * rng.uniform(0.2, 0.6))
        y, x = y + length_px * math.sin(angle), x + length_px * math.cos(angle)
        piece_HW = np.zeros(size_px, np.uint8)
        yield cv2.line(piece_HW, begin, (int(x), int(y)), 1, thickness_px).astype(bool)
        if not (0 <= y < height_px and 0 <= x < width_px):
            return
        angle += rng.uniform(-math.pi / 3, math.pi / 3)
