"""From edge probabilities to lines one pixel wide: the paper's post-processing, step by step (spec, section 4).

Legend: H W pixels; x runs along W, y along H. Probabilities are float32 in 0..1.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.config import Config
from p2p_core.geometry import Window

__all__ = ["ThinningConfig", "drop_small", "edge_lines", "non_maximum_suppression", "orientation", "ridges", "thin", "trace"]

_EPSILON = np.float32(1e-5)
_STRIP_PX = 512
_CLAMP_PX = 1.001  # the last place where a bilinear sample has all four neighbours
_CODES = 256
# Bits of a pixel's neighbours x1..x8 of the thinning papers: east first, then counter-clockwise.
_NEIGHBOURS = np.array([[8, 4, 2], [16, 0, 1], [32, 64, 128]], np.float32)


class ThinningConfig(Config):
    """The constants of PostprocessHED.m.

    Attributes:
        mode: `faithful` as published: where the mixed second derivative is exactly 0, as on synthetic edges along an axis,
            the orientation comes out as 0. `robust` gives such edges their true orientation.
        smoothing_radius_px: of the triangle filter before orientations are taken.
        suppression_radius_px: neighbours up to this distance across an edge are compared.
        suppression_margin: a pixel stays if this many times its probability is not below its neighbours'.
        border_px: the outer pixels are faded out: multiplied by 0, 1/n, 2/n, ...
        threshold: the lowest probability that is an edge. Published: 25/255, for the authors' own weights; the default
            weights answer more strongly to weak edges and agree better with the published maps at 33/255 (docs/edges.md).
        min_component_px: smaller 8-connected groups of thinned pixels are dropped.
    """

    mode: Literal["faithful", "robust"] = "faithful"
    smoothing_radius_px: int = Field(4, ge=0)
    suppression_radius_px: int = Field(1, ge=1)
    suppression_margin: float = Field(1.01, gt=0)
    border_px: int = Field(5, ge=0)
    threshold: float = Field(33 / 255, ge=0, le=1)
    min_component_px: int = Field(5, ge=0)


def edge_lines(probability_HW: NDArray[np.float32], config: ThinningConfig) -> NDArray[np.bool_]:
    """Which pixels are edges: (H, W), lines one pixel wide."""
    return trace(ridges(probability_HW, config), config)


def trace(ridges_HW: NDArray[np.float32], config: ThinningConfig) -> NDArray[np.bool_]:
    """The lines along `ridges`: (H, W)."""
    return drop_small(thin(ridges_HW >= np.float32(config.threshold)), config.min_component_px)


def ridges(probability_HW: NDArray[np.float32], config: ThinningConfig) -> NDArray[np.float32]:
    """Probabilities along ridges and 0 beside them and below the threshold, faded out at the border: (H, W).

    Goes strip by strip, so that a large picture needs little more memory than its result.
    """
    height_px, width_px = probability_HW.shape
    ridges_HW = np.empty((height_px, width_px), np.float32)
    # What a pixel depends on: the filter, two derivatives, and a bilinear sample.
    reach_px = config.smoothing_radius_px + 2 + config.suppression_radius_px + 1
    for top in range(0, height_px, _STRIP_PX):
        core = Window(top, 0, _STRIP_PX, width_px).clip(height_px, width_px)
        seen = core.grow(reach_px).clip(height_px, width_px)
        seen_HW = probability_HW[seen.slices]
        suppressed_HW = non_maximum_suppression(seen_HW, orientation(seen_HW, config), config)
        ridges_HW[core.slices] = suppressed_HW[core.shift(-seen.y_px, -seen.x_px).slices]
    _fade_border(ridges_HW, config.border_px)
    return ridges_HW


def orientation(probability_HW: NDArray[np.float32], config: ThinningConfig) -> NDArray[np.float32]:
    """The direction across the edge at every pixel, in 0..pi: (H, W)."""
    smooth_HW = _triangle_filter(probability_HW, config.smoothing_radius_px)
    along_x_HW, along_y_HW = _gradient(smooth_HW, 1), _gradient(smooth_HW, 0)
    xx_HW, xy_HW, yy_HW = _gradient(along_x_HW, 1), _gradient(along_x_HW, 0), _gradient(along_y_HW, 0)
    sign_HW = np.sign(-xy_HW) if config.mode == "faithful" else np.where(xy_HW > 0, np.float32(-1), np.float32(1))
    # atan(a / b) and atan2(a, b) differ by a multiple of pi at most, and atan2 also knows 0 / 0.
    angle_HW: NDArray[np.float32] = np.mod(np.arctan2(yy_HW * sign_HW, xx_HW + _EPSILON), np.float32(np.pi))
    return angle_HW


def non_maximum_suppression(
    probability_HW: NDArray[np.float32], orientation_HW: NDArray[np.float32], config: ThinningConfig
) -> NDArray[np.float32]:
    """0 where a neighbour across the edge is clearly higher, or the probability below the threshold; else unchanged."""
    suppressed_HW = np.zeros_like(probability_HW)
    rows, columns = np.nonzero(probability_HW >= np.float32(config.threshold))
    values = probability_HW[rows, columns]
    across = orientation_HW[rows, columns]
    cos, sin = np.cos(across), np.sin(across)
    kept = np.ones(values.shape, bool)
    for step_px in range(-config.suppression_radius_px, config.suppression_radius_px + 1):
        if step_px:
            neighbours = _bilinear(probability_HW, columns + step_px * cos, rows + step_px * sin)
            kept &= values * np.float32(config.suppression_margin) >= neighbours
    suppressed_HW[rows[kept], columns[kept]] = values[kept]
    return suppressed_HW


def thin(edges_HW: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Lines of one pixel's width, connected as the areas they come from; the pixels of `skimage.morphology.thin`.

    Two alternating passes until nothing changes, each a 3x3 filter that numbers a pixel's neighbourhood and a table of the
    numbers to be removed (Guo and Hall 1989; conditions as in Lam, Lee and Suen 1992, page 879).
    """
    lines_HW = edges_HW.astype(np.uint8)
    while True:
        before = cv2.countNonZero(lines_HW)
        for table in _REMOVED:
            codes_HW = cv2.filter2D(lines_HW, cv2.CV_8U, _NEIGHBOURS, borderType=cv2.BORDER_CONSTANT)
            lines_HW &= cv2.LUT(codes_HW, table)
        if cv2.countNonZero(lines_HW) == before:
            return lines_HW.astype(bool)


def drop_small(lines_HW: NDArray[np.bool_], min_component_px: int) -> NDArray[np.bool_]:
    """Without the 8-connected groups of fewer than `min_component_px` pixels."""
    _, labels_HW, statistics, _ = cv2.connectedComponentsWithStats(lines_HW.astype(np.uint8), connectivity=8)
    kept = statistics[:, cv2.CC_STAT_AREA] >= min_component_px
    kept[0] = False  # the background
    large_HW: NDArray[np.bool_] = kept[labels_HW]
    return large_HW


def _triangle_filter(values_HW: NDArray[np.float32], radius_px: int) -> NDArray[np.float32]:
    """[1 2 ... r+1 ... 2 1] / (r+1)^2 along both axes; pictures continue mirrored with the border pixel repeated."""
    rising = np.arange(1, radius_px + 2, dtype=np.float32)
    kernel = np.concatenate([rising, rising[-2::-1]]) / np.float32((radius_px + 1) ** 2)
    filtered: NDArray[np.float32] = cv2.sepFilter2D(values_HW, cv2.CV_32F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    return filtered


def _gradient(values_HW: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Central differences, one-sided at the borders; 0 along an axis of one pixel."""
    if values_HW.shape[axis] < 2:
        return np.zeros_like(values_HW)
    gradient: NDArray[np.float32] = np.gradient(values_HW, axis=axis)
    return gradient


def _bilinear(values_HW: NDArray[np.float32], x: NDArray[np.float32], y: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples at (x, y); places outside are moved to the border."""
    height_px, width_px = values_HW.shape
    x, y = (
        np.clip(places, 0, max(size_px - _CLAMP_PX, 0)).astype(np.float32)
        for places, size_px in ((x, width_px), (y, height_px))
    )
    left, top = x.astype(np.intp), y.astype(np.intp)
    right, bottom = np.minimum(left + 1, width_px - 1), np.minimum(top + 1, height_px - 1)
    dx, dy = x - left.astype(np.float32), y - top.astype(np.float32)
    upper = values_HW[top, left] * (1 - dx) + values_HW[top, right] * dx
    lower = values_HW[bottom, left] * (1 - dx) + values_HW[bottom, right] * dx
    samples: NDArray[np.float32] = upper * (1 - dy) + lower * dy
    return samples


def _fade_border(values_HW: NDArray[np.float32], border_px: int) -> None:
    for axis_values in (values_HW, values_HW.T):
        for distance in range(min(border_px, len(axis_values) // 2)):
            fade = np.float32(distance / border_px)
            axis_values[distance] *= fade
            axis_values[-1 - distance] *= fade


def _removal_tables() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """For each of the two passes: neighbourhood code -> 0 where the pixel goes, 1 where it stays."""
    x = {k: (np.arange(_CODES) >> (k - 1)) & 1 == 1 for k in range(1, 9)} | {9: np.arange(_CODES) & 1 == 1}
    crossings = sum((~x[2 * i - 1] & (x[2 * i] | x[2 * i + 1])).astype(int) for i in range(1, 5))
    first = sum((x[2 * k - 1] | x[2 * k]).astype(int) for k in range(1, 5))
    second = sum((x[2 * k] | x[2 * k + 1]).astype(int) for k in range(1, 5))
    fewest = np.minimum(first, second)
    simple = (crossings == 1) & (fewest >= 2) & (fewest <= 3)
    odd = simple & ~((x[2] | x[3] | ~x[8]) & x[1])
    even = simple & ~((x[6] | x[7] | ~x[4]) & x[5])
    return (~odd).astype(np.uint8), (~even).astype(np.uint8)


_REMOVED = _removal_tables()
