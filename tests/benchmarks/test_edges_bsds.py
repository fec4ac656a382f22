"""The scoring of benchmarks/edges_bsds.py on maps whose scores are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.edges_bsds import MAX_DISTANCE, image_counts, match, score, threshold_steps

SIDE_PX = 400
MAX_PX = MAX_DISTANCE * SIDE_PX * 2**0.5  # 4.2
THRESHOLDS = threshold_steps(33)


def line(row: int) -> NDArray[np.bool_]:
    map_HW = np.zeros((SIDE_PX, SIDE_PX), bool)
    map_HW[row, 50:350] = True
    return map_HW


def graded(map_HW: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Surer towards the right, so that every recall is reached by some threshold."""
    return (map_HW * np.linspace(0, 1, 300, dtype=np.float32)[np.clip(np.arange(SIDE_PX) - 50, 0, 299)]).astype(np.float32)


def test_a_perfect_prediction_scores_one_in_everything() -> None:
    scores = score(np.array([image_counts(graded(line(200)) + line(200), [line(200)] * 3, THRESHOLDS)]), THRESHOLDS)
    assert (scores.ods, scores.ods_precision, scores.ods_recall, scores.ois) == (1, 1, 1, 1)
    many = threshold_steps(99)
    graded_scores = score(np.array([image_counts(graded(line(200)), [line(200)] * 3, many)]), many)
    assert graded_scores.ap == pytest.approx(1, abs=0.03)  # no threshold of .01 ... .99 reaches a recall of 0 or of 1


def test_a_line_shifted_beyond_the_largest_distance_scores_nothing() -> None:
    within, beyond = int(MAX_PX), int(MAX_PX) + 1
    assert match(line(200 + within), line(200), MAX_PX)[1] == 300
    assert match(line(200 + beyond), line(200), MAX_PX)[1] == 0
    counts = image_counts(graded(line(200 + beyond)), [line(200)], THRESHOLDS)
    scores = score(np.array([counts]), THRESHOLDS)
    assert (scores.ods, scores.ois, scores.ap) == (0, 0, 0)


def test_of_two_lines_beside_one_true_line_only_one_may_match() -> None:
    matched_HW, num_matched = match(line(198) | line(202), line(200), MAX_PX)
    assert num_matched == matched_HW.sum() == 300
    counts = image_counts((line(198) | line(202)).astype(np.float32), [line(200)], THRESHOLDS)
    scores = score(np.array([counts]), THRESHOLDS)
    assert (scores.ods_precision, scores.ods_recall) == (0.5, 1)


def test_a_pixel_that_could_match_two_leaves_room_for_its_neighbour() -> None:
    ours_HW, human_HW = np.zeros((2, 1, 20), bool)
    ours_HW[0, [5, 9]] = True
    human_HW[0, [2, 6]] = True  # 5 is nearer to 6, but 9 reaches only 6
    assert match(ours_HW, human_HW, 3.0)[1] == 2


def test_recall_sums_over_people_and_precision_takes_any_of_them() -> None:
    counts = image_counts((line(100) | line(300)).astype(np.float32), [line(100), line(300)], THRESHOLDS)
    assert (counts == (600, 600, 600, 600)).all()
    counts = image_counts(line(100).astype(np.float32), [line(100), line(300)], THRESHOLDS)
    assert (counts == (300, 600, 300, 300)).all()


def test_each_image_may_take_its_own_threshold_for_ois_but_not_for_ods() -> None:
    clean = np.where(line(200), np.float32(0.3), np.float32(0))
    noisy = np.where(line(200), np.float32(0.9), np.where(line(100), np.float32(0.6), np.float32(0)))
    counts_ITC = np.array([image_counts(ridges_HW, [line(200)], THRESHOLDS) for ridges_HW in (clean, noisy)])
    scores = score(counts_ITC, THRESHOLDS)
    assert scores.ois == 1
    assert scores.ods == pytest.approx(2 * (2 / 3) / (1 + 2 / 3))  # all of it at the low threshold, a third of it wrong


def test_an_empty_map_is_scored_without_a_division_by_zero() -> None:
    empty_HW = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    assert score(np.array([image_counts(empty_HW, [line(200)], THRESHOLDS)]), THRESHOLDS).ods == 0
