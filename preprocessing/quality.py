"""Which pairs teach nothing, or what is wrong: uniform pictures, files that are there twice, two pictures that lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.config import Config
from p2p_core.encodings import encoding
from p2p_core.pairstore.layout import ROLES
from preprocessing.pairs import Pair, Rejected
from preprocessing.shift import measure_shift
from preprocessing.split import split_order

__all__ = ["QualityRule", "first_with_digest", "twins"]


class QualityRule(Config):
    """`min_std`: a picture none of whose bands varies by more grey levels than this is uniform: blank paper, cloud, fill.
    Of measurements (`bands`) a grey level is a 255th of the range, and what lies outside it is cut to it.

    `max_shift_px`: a pair whose pictures clearly lie further apart is misregistered (`measure_shift`); what is not clear stays.
    Not looked for unless given. It is meant for pictures that were made apart: maps, folders, frames, labels.
    """

    min_std: float = Field(default=1.0, ge=0)
    max_shift_px: float | None = Field(default=None, gt=0)

    def judge(self, pair: Pair, encodings: tuple[str, str] = ("rgb", "rgb")) -> Pair | Rejected:
        """The pair itself, or why it is left out.

        Args:
            encodings: of input and target; any two whose pixels are pictures are judged alike.
        """
        halves = list(zip(ROLES, map(encoding, encodings), (pair.input_HWC, pair.target_HWC), strict=True))
        for role, _, pixels_HWC in halves:
            if num_bad := _num_not_finite(pixels_HWC):
                hint = "; if they mean no measurement, declare NaN as the raster's nodata" if pair.window else ""
                detail = f"{num_bad} values of the {role} are NaN or infinite{hint}"
                return Rejected.of_pair(pair, "not_finite", detail)
        for role, own, pixels_HWC in halves:
            levels_HWC = own.to_grey_levels(pixels_HWC)
            if surely_varies(levels_HWC, self.min_std):
                continue
            deviation = largest_std(levels_HWC)
            if deviation < self.min_std:
                scale = "" if own.is_picture else f" of {own.name}"
                detail = f"The {role} varies by {deviation:.2f} grey levels{scale}, less than {self.min_std:g}"
                return Rejected.of_pair(pair, "uniform", detail)
        if self.max_shift_px is None:
            return pair
        shift = measure_shift(*(own.to_grey_levels(pixels_HWC) for _, own, pixels_HWC in halves))
        if shift is None or shift.distance_px <= self.max_shift_px:
            return pair
        place = f"({shift.dx_px:+z.1f}, {shift.dy_px:+z.1f}) px"
        detail = f"The target lies off by (dx, dy) = {place}, more than {self.max_shift_px:g}; response {shift.response:.2f}"
        return Rejected.of_pair(pair, "misregistered", detail)


def _num_not_finite(pixels_HWC: NDArray[Any]) -> int:
    return int((~np.isfinite(pixels_HWC)).sum()) if pixels_HWC.dtype.kind == "f" else 0


def surely_varies(pixels_HWC: NDArray[Any], min_std: float) -> bool:
    """Whether one pixel in 256, or in 16, is enough to know that `largest_std` is at least `min_std`.

    Squares of distances add up: 1/16 of all pixels with a variance v about their own mean give the whole at least v/16.
    """
    return any(_part_varies(np.ascontiguousarray(pixels_HWC[::step, ::step]), pixels_HWC, min_std) for step in (16, 4))


def _part_varies(part_HWC: NDArray[Any], pixels_HWC: NDArray[Any], min_std: float) -> bool:
    share = part_HWC[..., 0].size / pixels_HWC[..., 0].size
    return bool(largest_std(part_HWC) * share**0.5 >= min_std)


def largest_std(pixels_HWC: NDArray[Any]) -> float:
    """The standard deviation of the band that varies most, in grey levels."""
    _, deviations = cv2.meanStdDev(pixels_HWC)
    return float(deviations.max())


def twins(digests: Mapping[str, str]) -> dict[str, str]:
    """Name -> digest of its bytes; to the name that stays in its stead for each that holds the same bytes as another.

    The one in train stays, then val, then test; of two in one split the first by name.
    """
    return first_with_digest([(name, digests[name]) for name in sorted(digests, key=lambda name: (split_order(name), name))])


def first_with_digest(items: Sequence[tuple[str, str]]) -> dict[str, str]:
    """(name, digest) in order of preference -> the name that comes first for each later one with the same digest."""
    first: dict[str, str] = {}
    duplicates = {}
    for name, digest in items:
        kept = first.setdefault(digest, name)
        if kept != name:
            duplicates[name] = kept
    return duplicates
