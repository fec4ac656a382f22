"""Which pairs teach nothing: uniform pictures, and files that are there twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.config import Config
from preprocessing.pairs import Pair, Rejected
from preprocessing.split import split_order

__all__ = ["QualityRule", "first_with_digest", "twins"]


class QualityRule(Config):
    """`min_std`: a picture none of whose bands varies by more grey levels than this is uniform: blank paper, cloud, fill."""

    min_std: float = Field(default=1.0, ge=0)

    def judge(self, pair: Pair) -> Pair | Rejected:
        """The pair itself, or why it is left out."""
        for role, pixels_HWC in (("input", pair.input_HWC), ("target", pair.target_HWC)):
            deviation = largest_std(pixels_HWC)
            if deviation < self.min_std:
                detail = f"The {role} varies by {deviation:.2f} grey levels, less than {self.min_std:g}"
                return Rejected(pair.source_id, pair.pair_id, "uniform", detail, pair.window)
        return pair


def largest_std(pixels_HWC: NDArray[np.uint8]) -> float:
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
