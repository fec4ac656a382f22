from __future__ import annotations

import numpy as np
import pytest

from preprocessing.edges.agreement import Agreement, agreement, lines_of_picture, mean_agreement


def column(x_px: int, *, height_px: int = 12) -> np.ndarray:
    lines_HW = np.zeros((20, 30), bool)
    lines_HW[:height_px, x_px] = True
    return lines_HW


@pytest.mark.parametrize(("shift_px", "f"), [(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.0)])
def test_lines_two_pixels_apart_agree_and_three_do_not(shift_px, f) -> None:
    assert agreement(column(10), column(10 + shift_px)).f == f
    assert agreement(column(10 + shift_px), column(10)) == (f, f, f)


def test_distance_is_euclidean() -> None:
    one, other = np.zeros((2, 9, 9), bool)
    one[4, 4], other[6, 6] = True, True
    assert agreement(one, other).f == 0
    assert agreement(one, other, tolerance_px=2.83).f == 1
    assert agreement(one, other, tolerance_px=2.82).f == 0


def test_precision_is_of_the_map_under_test_and_recall_of_the_reference() -> None:
    """12 px on the reference and 12 px of nothing: half of what was drawn is right, all that was to be drawn is there."""
    both = column(5) | column(20)
    assert agreement(both, column(5)) == pytest.approx((0.5, 1.0, 2 / 3))
    assert agreement(column(5), both) == pytest.approx((1.0, 0.5, 2 / 3))


def test_empty_maps_agree_with_each_other_only() -> None:
    nothing = np.zeros((20, 30), bool)
    assert agreement(nothing, nothing) == (1.0, 1.0, 1.0)
    assert agreement(nothing, column(3)) == agreement(column(3), nothing) == (0.0, 0.0, 0.0)


def test_the_mean_is_over_the_pictures_figures() -> None:
    mean = mean_agreement([Agreement(1.0, 0.5, 2 / 3), Agreement(0.0, 0.5, 0.0)])
    assert mean == pytest.approx((0.5, 0.5, 1 / 3))


def test_black_lines_on_white_are_read_and_thinned() -> None:
    gray_HW = np.full((20, 30), 255, np.uint8)
    gray_HW[4:7, 3:27] = 0
    gray_HW[15] = 128
    lines_HW = lines_of_picture(gray_HW)
    assert lines_HW.sum(axis=0).max() == 1
    assert set(np.nonzero(lines_HW)[0]) == {5}
