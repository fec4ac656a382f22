"""How well two edge maps agree: the protocol behind every figure this project gives for its edges.

Both maps are thinned. A line's pixel is matched where the other map has a pixel within the tolerance (Euclidean distance
between centres). Precision is the matched share of the map under test, recall that of the reference, F their harmonic mean.
Figures for many pictures are the means of the per-picture figures.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from preprocessing.edges.thinning import thin

__all__ = ["TOLERANCE_PX", "Agreement", "agreement", "lines_of_picture", "mean_agreement"]

TOLERANCE_PX = 2.0
_BLACK = 128


class Agreement(NamedTuple):
    precision: float
    recall: float
    f: float


def lines_of_picture(gray_HW: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Black lines on white, as edges2shoes and edges2handbags were published: (H, W), thinned."""
    return thin(gray_HW < _BLACK)


def agreement(lines_HW: NDArray[np.bool_], reference_HW: NDArray[np.bool_], *, tolerance_px: float = TOLERANCE_PX) -> Agreement:
    """Two thinned maps of one size. Two empty maps agree; an empty one and one with lines do not."""
    precision = _matched_share(lines_HW, reference_HW, tolerance_px)
    recall = _matched_share(reference_HW, lines_HW, tolerance_px)
    both = precision + recall
    return Agreement(precision, recall, 2 * precision * recall / both if both else 0.0)


def mean_agreement(figures: list[Agreement]) -> Agreement:
    """The mean of each figure over pictures."""
    return Agreement(*np.mean(np.array(figures), axis=0).tolist())


def _matched_share(lines_HW: NDArray[np.bool_], others_HW: NDArray[np.bool_], tolerance_px: float) -> float:
    if not lines_HW.any():
        return 1.0 if not others_HW.any() else 0.0
    if not others_HW.any():
        return 0.0
    distance_HW = cv2.distanceTransform((~others_HW).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance_HW[lines_HW] <= tolerance_px + 1e-4).mean())
