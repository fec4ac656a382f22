"""Post-processing against skimage and against the spec written out pixel by pixel."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import skimage.morphology
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from preprocessing.edges import thinning
from preprocessing.edges.thinning import (
    ThinningConfig,
    drop_small,
    edge_lines,
    non_maximum_suppression,
    orientation,
    ridges,
    thin,
    trace,
)

FAITHFUL, ROBUST = ThinningConfig(), ThinningConfig(mode="robust")
SIZES_PX = [(1, 1), (1, 9), (9, 1), (2, 2), (7, 23), (24, 17)]


def smooth_map(height_px: int, width_px: int, seed: int, sigma: float = 1.5) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height_px, width_px), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return ((smooth - smooth.min()) / max(float(np.ptp(smooth)), 1e-6)).astype(np.float32)


def literal_smooth(p: np.ndarray, radius_px: int) -> np.ndarray:
    """Step 2, with the border pixel repeated in the mirror."""
    height, width = p.shape
    weights = [radius_px + 1 - abs(k) for k in range(-radius_px, radius_px + 1)]

    def mirror(i: int, size: int) -> int:
        while not 0 <= i < size:
            i = -1 - i if i < 0 else 2 * size - 1 - i
        return i

    def along(rows: np.ndarray) -> np.ndarray:
        out = np.zeros_like(rows, dtype=float)
        for x in range(rows.shape[1]):
            for k, weight in zip(range(-radius_px, radius_px + 1), weights, strict=True):
                out[:, x] += weight / (radius_px + 1) ** 2 * rows[:, mirror(x + k, rows.shape[1])]
        return out

    assert (height, width) == p.shape
    return along(along(p.astype(float)).T).T


def literal_derivative(s: np.ndarray, *, down: bool) -> np.ndarray:
    """Step 3's derivatives: central, one-sided at the borders."""
    s = s.T if down else s
    out = np.zeros_like(s)
    last = s.shape[1] - 1
    for x in range(last + 1):
        left, right = max(x - 1, 0), min(x + 1, last)
        out[:, x] = (s[:, right] - s[:, left]) / (right - left) if right > left else 0
    return out.T if down else out


def literal_orientation(p: np.ndarray, config: ThinningConfig) -> np.ndarray:
    s = literal_smooth(p, config.smoothing_radius_px)
    ox, oy = literal_derivative(s, down=False), literal_derivative(s, down=True)
    oxx, oxy, oyy = (literal_derivative(o, down=down) for o, down in ((ox, False), (ox, True), (oy, True)))
    out = np.zeros_like(s)
    for y, x in np.ndindex(*s.shape):
        slope = oyy[y, x] * np.sign(-oxy[y, x]) / (oxx[y, x] + 1e-5)
        out[y, x] = math.atan(slope) % math.pi
    return out


def literal_suppression(p: np.ndarray, across: np.ndarray, config: ThinningConfig) -> np.ndarray:
    height, width = p.shape
    out = np.where(p >= np.float32(config.threshold), p, 0)

    def sample(x: float, y: float) -> float:
        x, y = min(max(x, 0), max(width - 1.001, 0)), min(max(y, 0), max(height - 1.001, 0))
        x0, y0 = int(x), int(y)
        x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
        dx, dy = x - x0, y - y0
        return (p[y0, x0] * (1 - dx) + p[y0, x1] * dx) * (1 - dy) + (p[y1, x0] * (1 - dx) + p[y1, x1] * dx) * dy

    for y, x in np.ndindex(height, width):
        for d in range(-config.suppression_radius_px, config.suppression_radius_px + 1):
            neighbour = sample(x + d * math.cos(across[y, x]), y + d * math.sin(across[y, x])) if d else 0
            if config.suppression_margin * p[y, x] < neighbour:
                out[y, x] = 0
    return out


def close_on_a_circle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles of lines: 0 and pi are one."""
    return np.abs((a - b + np.pi / 2) % np.pi - np.pi / 2)


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.booleans()))
@example(np.ones((9, 12), bool))
@example(np.eye(8, dtype=bool))
@example(np.zeros((3, 3), bool))
def test_thin_is_skimages(mask_HW: np.ndarray) -> None:
    np.testing.assert_array_equal(thin(mask_HW), skimage.morphology.thin(mask_HW))


@pytest.mark.parametrize("seed", range(4))
def test_thin_is_skimages_on_large_blobs(seed) -> None:
    mask_HW = smooth_map(150, 201, seed, sigma=4) > 0.5
    np.testing.assert_array_equal(thin(mask_HW), skimage.morphology.thin(mask_HW))


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize("radius_px", [0, 1, 4])
def test_orientation_is_the_specs(size_px, radius_px) -> None:
    p = smooth_map(*size_px, seed=3)
    config = ThinningConfig(smoothing_radius_px=radius_px)
    found, expected = orientation(p, config), literal_orientation(p, config)
    assert ((found >= 0) & (found <= np.float32(np.pi))).all()
    wrong = close_on_a_circle(found, expected) > 1e-2
    # Where a second derivative is next to nothing, rounding decides its sign.
    assert wrong.mean() < 0.02


@pytest.mark.parametrize("size_px", SIZES_PX)
@pytest.mark.parametrize("config", [ThinningConfig(), ThinningConfig(suppression_radius_px=3, suppression_margin=1.1)])
def test_suppression_is_the_specs(size_px, config) -> None:
    p = smooth_map(*size_px, seed=4)
    across = np.random.default_rng(0).uniform(0, np.pi, size_px).astype(np.float32)
    found, expected = non_maximum_suppression(p, across, config), literal_suppression(p, across, config)
    assert (found != expected).mean() < 0.01
    assert set(found[found > 0]) <= set(p.ravel()), "what stays keeps its value"


def test_a_neighbour_just_within_the_margin_is_tolerated() -> None:
    """1.01 p < sample goes, 1.01 p = sample stays."""
    across = np.zeros((1, 3), np.float32)
    for centre, stays in ((0.5, True), (0.5 / 1.009, True), (0.5 / 1.011, False)):
        p = np.array([[0.5, centre, 0.5]], np.float32)
        assert (non_maximum_suppression(p, across, FAITHFUL)[0, 1] > 0) == stays
    assert non_maximum_suppression(np.full((1, 3), 0.5, np.float32), across, ThinningConfig(suppression_margin=1)).all()


@pytest.mark.parametrize("mode", ["faithful", "robust"])
@pytest.mark.parametrize("size_px", [(60, 31), (7, 40), (29, 3)])
def test_strips_change_no_bit(monkeypatch, mode, size_px) -> None:
    p, config = smooth_map(*size_px, seed=5), ThinningConfig(mode=mode)
    whole = ridges(p, config)
    monkeypatch.setattr(thinning, "_STRIP_PX", 7)
    np.testing.assert_array_equal(ridges(p, config), whole)


def bar(height_px: int, width_px: int, *, along: int) -> np.ndarray:
    """A ridge along an axis, as a synthetic edge gives it: nothing varies along it."""
    across = np.exp(-((np.arange(height_px if along else width_px) - 20.3) ** 2) / 8).astype(np.float32)
    return np.repeat(across[:, None], width_px, 1) if along else np.repeat(across[None], height_px, 0)


def test_the_published_formula_takes_a_horizontal_edge_for_a_vertical_one_and_robust_does_not() -> None:
    horizontal, vertical = bar(41, 50, along=1), bar(50, 41, along=0)
    middle = np.s_[20, 20]
    assert orientation(horizontal, FAITHFUL)[middle] == 0
    assert orientation(horizontal, ROBUST)[middle] == pytest.approx(np.pi / 2, abs=0.01)
    for config in (FAITHFUL, ROBUST):
        assert close_on_a_circle(orientation(vertical, config)[middle], 0) < 0.01
    # What becomes of it: the whole band stays, where one row should.
    assert (ridges(horizontal, FAITHFUL)[:, 20] > 0).sum() > 5
    assert (ridges(horizontal, ROBUST)[:, 20] > 0).sum() == 1
    assert (ridges(vertical, FAITHFUL)[20] > 0).sum() == 1


def test_away_from_the_axes_both_modes_are_one() -> None:
    p = smooth_map(60, 60, seed=6)
    np.testing.assert_array_equal(ridges(p, FAITHFUL), ridges(p, ROBUST))


def test_the_border_fades_in_five_steps() -> None:
    config = ThinningConfig(threshold=0.5, suppression_margin=2)
    faded = ridges(np.full((20, 24), 0.5, np.float32), config) / np.float32(0.5)
    steps = [0, 0.2, 0.4, 0.6, 0.8, 1, 1]
    for profile in (faded[10, :7], faded[10, :-8:-1], faded[:7, 12], faded[:-8:-1, 12]):
        np.testing.assert_allclose(profile, steps, rtol=1e-6)
    assert faded[1, 2] == pytest.approx(0.2 * 0.4)
    assert (ridges(np.full((20, 24), 0.5, np.float32), ThinningConfig(border_px=0)) == 0.5).all()


@pytest.mark.parametrize(("num_px", "kept"), [(4, False), (5, True)])
@pytest.mark.parametrize("diagonal", [False, True])
def test_groups_of_four_pixels_go_and_of_five_stay_corners_touching(num_px, kept, diagonal) -> None:
    lines_HW = np.zeros((12, 12), bool)
    place = np.arange(num_px)
    lines_HW[place + 2 if diagonal else 2, place + 2] = True
    assert drop_small(lines_HW, 5).any() == kept
    np.testing.assert_array_equal(drop_small(lines_HW, 5), lines_HW & kept)


def test_a_probability_at_the_threshold_is_an_edge() -> None:
    threshold = ThinningConfig().threshold
    for value, kept in ((threshold, True), (np.nextafter(np.float32(threshold), np.float32(0)), False)):
        p = np.zeros((12, 30), np.float32)
        p[6] = value
        assert trace(p, FAITHFUL).any() == kept
        assert edge_lines(p, ROBUST).any() == kept


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "robust"},
        {"smoothing_radius_px": 1},
        {"suppression_radius_px": 3},
        {"suppression_margin": 1.2},
        {"border_px": 0},
        {"threshold": 0.5},
        {"min_component_px": 30},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_constant_makes_a_difference(change) -> None:
    assert set(change) < set(ThinningConfig.model_fields)
    p = np.hstack([smooth_map(80, 80, seed=7), np.pad(bar(41, 60, along=1), ((0, 39), (0, 0)))])
    assert (edge_lines(p, ThinningConfig(**change)) != edge_lines(p, FAITHFUL)).any()
