"""Claim: the boundaries our detector finds on BSDS500 against those that people drew: ODS, OIS and AP.

The protocol is that of Martin, Fowlkes and Malik (2004) and Arbelaez et al. (2011), as used for HED. What differs is written
into the result. The weights were trained on BSDS500 train and val, and the test split is not handed out: every figure is a
training-set figure, a check that network, suppression and scoring are right, and no measure of quality.

    python -m benchmarks.edges_bsds ../shared/data/bsds500 [--split val] [--thresholds 99] [--limit N]

Legend: I images, T thresholds, C the four counts of `Counts`, H W pixels.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.config import replace
from preprocessing.edges.detect import DetectorConfig, EdgeDetector
from preprocessing.edges.photos import read_photo
from preprocessing.edges.thinning import ThinningConfig, ridges, thin
from preprocessing.edges.weights import read_weights

__all__ = ["Counts", "Scores", "image_counts", "match", "score", "threshold_steps"]

LABEL = "training-set figures; comparable with .790 is only the test split"
MAX_DISTANCE = 0.0075
"""Of the image's diagonal: pixels further apart do not match."""

_LOWEST = replace(ThinningConfig(), threshold=0.0)
_BETWEEN = 100  # places looked at between two thresholds, as the benchmark's maxF


class Counts(NamedTuple):
    """Boundary pixels at one threshold of one image. Recall is over all people's maps, precision over our one."""

    human_matched: int
    human: int
    ours_matched: int
    ours: int


class Scores(NamedTuple):
    """`ods`: best F of one threshold for all images, with its place; `ois`: of the best threshold of each; `ap`: area."""

    ods: float
    ods_threshold: float
    ods_precision: float
    ods_recall: float
    ois: float
    ap: float


def main() -> None:
    options = _options()
    photos = sorted((options.data / "images" / options.split).glob("*.jpg"))[: options.limit]
    if not photos:
        raise SystemExit(f"There are no photos in {options.data / 'images' / options.split}")
    weights = read_weights()
    detector = EdgeDetector(weights, DetectorConfig())
    thresholds = threshold_steps(options.thresholds)
    counts, started_s = [], time.perf_counter()
    for number, path in enumerate(photos, start=1):
        ridges_HW = ridges(detector.probability(read_photo(path)), _LOWEST)
        humans = _human_boundaries(options.data / "groundTruth" / options.split / f"{path.stem}.mat")
        counts.append(image_counts(ridges_HW, humans, thresholds))
        print(f"{number}/{len(photos)} {path.stem} {time.perf_counter() - started_s:.0f} s", flush=True)
    counts_ITC = np.array(counts)
    text = _report(score(counts_ITC, thresholds), options, counts_ITC, weights.sha256, time.perf_counter() - started_s)
    write_result(f"edges-bsds-{options.split}-{len(photos)}", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="BSDS500_DIR", help="holds images/SPLIT and groundTruth/SPLIT")
    parser.add_argument("--split", choices=("val", "train"), default="val")
    parser.add_argument("--thresholds", type=int, default=99, metavar="N")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N photos")
    return parser.parse_args()


def threshold_steps(number: int) -> NDArray[np.float64]:
    """(T,) evenly between 0 and 1, neither of them among it."""
    return np.linspace(1 / (number + 1), 1 - 1 / (number + 1), number)


def image_counts(
    ridges_HW: NDArray[np.float32], humans: Sequence[NDArray[np.bool_]], thresholds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """(T, C): each thresholded map is thinned and matched with each person's map."""
    max_px = MAX_DISTANCE * float(np.hypot(*ridges_HW.shape))
    return np.array([_counts(thin(ridges_HW >= np.float32(at)), humans, max_px) for at in thresholds], np.int64)


def _counts(ours_HW: NDArray[np.bool_], humans: Sequence[NDArray[np.bool_]], max_px: float) -> Counts:
    anyone_HW = np.zeros_like(ours_HW)
    human_matched = 0
    for human_HW in humans:
        matched_HW, num_matched = match(ours_HW, human_HW, max_px)
        anyone_HW |= matched_HW
        human_matched += num_matched
    num_human = sum(int(human_HW.sum()) for human_HW in humans)
    return Counts(human_matched, num_human, int(anyone_HW.sum()), int(ours_HW.sum()))


def match(ours_HW: NDArray[np.bool_], human_HW: NDArray[np.bool_], max_px: float) -> tuple[NDArray[np.bool_], int]:
    """Pairs off as many pixels of the two maps as can be, one to one, none further apart than `max_px`.

    Returns:
        Our pixels that have a partner (H, W), and how many those are: as many as the human pixels that have one.
    """
    matched_HW = np.zeros_like(ours_HW)
    rows, columns = np.nonzero(ours_HW)
    num_human = int(human_HW.sum())
    if not len(rows) or not num_human:
        return matched_HW, 0
    reach_px = int(max_px)
    numbers_HW = np.full(human_HW.shape, -1, np.int32)
    numbers_HW[human_HW] = np.arange(num_human, dtype=np.int32)
    numbers_HW = np.pad(numbers_HW, reach_px, constant_values=-1)
    near_y, near_x = _offsets(max_px)
    candidates = numbers_HW[rows[:, np.newaxis] + near_y + reach_px, columns[:, np.newaxis] + near_x + reach_px]
    found = candidates >= 0
    # The nearest come first in a row: the search tries them in this order.
    ends = np.concatenate([[0], np.cumsum(found.sum(axis=1))]).astype(np.int32)
    graph = csr_array((np.ones(ends[-1], np.int8), candidates[found], ends), shape=(len(rows), num_human))
    matched = maximum_bipartite_matching(graph, perm_type="column") >= 0
    matched_HW[rows[matched], columns[matched]] = True
    return matched_HW, int(matched.sum())


def _offsets(max_px: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(y, x) of all pixels within `max_px`, the nearest first."""
    reach_px = int(max_px)
    y, x = (axis.ravel() for axis in np.mgrid[-reach_px : reach_px + 1, -reach_px : reach_px + 1])
    squares = y**2 + x**2
    order = np.argsort(squares, kind="stable")
    order = order[squares[order] <= max_px**2]
    return y[order], x[order]


def score(counts_ITC: NDArray[np.int64], thresholds: NDArray[np.float64]) -> Scores:
    """Counts are summed over images before they are divided, for OIS at each image's own best threshold."""
    recall_T, precision_T = _rates(counts_ITC.sum(axis=0))
    ods, threshold, precision, recall = _best(thresholds, precision_T, recall_T)
    recall_IT, precision_IT = _rates(counts_ITC)
    best_I = _f(precision_IT, recall_IT).argmax(axis=1)
    ois_recall, ois_precision = _rates(counts_ITC[np.arange(len(counts_ITC)), best_I].sum(axis=0))
    ois = float(_f(ois_precision, ois_recall))
    return Scores(ods, threshold, precision, recall, ois, _area(precision_T, recall_T))


def _rates(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(..., C) -> recall and precision (...); 0 / 0 is 0, as in the benchmark."""
    return counts[..., 0] / np.maximum(counts[..., 1], 1), counts[..., 2] / np.maximum(counts[..., 3], 1)


def _f(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    both = precision + recall
    harmonic: NDArray[np.float64] = 2 * precision * recall / np.where(both == 0, 1, both)
    return harmonic


def _best(
    thresholds: NDArray[np.float64], precision_T: NDArray[np.float64], recall_T: NDArray[np.float64]
) -> tuple[float, float, float, float]:
    """F, threshold, precision and recall where F is best, also between thresholds (linear, as the benchmark's maxF)."""
    steps = np.arange(len(thresholds))
    places = np.linspace(0, len(thresholds) - 1, (len(thresholds) - 1) * _BETWEEN + 1)
    at, precision, recall = (np.interp(places, steps, values) for values in (thresholds, precision_T, recall_T))
    f = _f(precision, recall)
    best = int(f.argmax())
    return float(f[best]), float(at[best]), float(precision[best]), float(recall[best])


def _area(precision_T: NDArray[np.float64], recall_T: NDArray[np.float64]) -> float:
    """Sum of precision at recalls 0, .01, ..., 1; nothing is gained at recalls that no threshold reaches."""
    recalls, first = np.unique(recall_T, return_index=True)
    precisions = np.interp(np.linspace(0, 1, 101), recalls, precision_T[first], left=0, right=0)
    return float(precisions.sum() * 0.01)


def _human_boundaries(path: Path) -> list[NDArray[np.bool_]]:
    """One (H, W) map a person."""
    people = loadmat(path)["groundTruth"].ravel()
    return [person["Boundaries"][0, 0].astype(bool) for person in people]


def _report(
    scores: Scores, options: argparse.Namespace, counts_ITC: NDArray[np.int64], weights_sha256: str, elapsed_s: float
) -> str:
    head = ("split", "images", "ODS", "at threshold", "precision", "recall", "OIS", "AP", "what these are")
    figures = (scores.ods, scores.ods_threshold, scores.ods_precision, scores.ods_recall, scores.ois, scores.ap)
    num_images, num_thresholds, _ = counts_ITC.shape
    row = (options.split, str(num_images), *(f"{value:.3f}" for value in figures), LABEL)
    limit = f" --limit {options.limit}" if options.limit else ""
    return f"""# Boundaries on BSDS500 {options.split}: {LABEL}

{table(head, [row])}

The weights were trained on BSDS500 train and val; these images are among those. They are the first {num_images} of the split.

Protocol (Martin, Fowlkes and Malik 2004; Arbelaez et al. 2011): suppressed probabilities before binarisation, {num_thresholds}
thresholds, each thresholded map thinned and matched one to one with each person's map within {MAX_DISTANCE} of the diagonal.
Recall sums over people, precision takes a pixel that any person's map matches; counts are summed over images. ODS is read also
between thresholds, AP is the area under the precision interpolated at 101 recalls, 0 where no threshold reaches.

What differs from the benchmark's own code: it assigns pixels at the least total distance (CSA++, with outliers drawn at random
at a high cost); here a largest matching is taken (Hopcroft and Karp), whose pairs need not be the nearest. So many pairs
with one person's map, and so much recall, is the most there can be; which of our pixels are matched may differ, and with
them the union over people: precision. The benchmark takes 99 thresholds, and the photos of the test split.

{elapsed_s:.0f} s on {hardware_name()}. Weights: sha256 {weights_sha256}; engine {DetectorConfig().engine}.

    python -m benchmarks.edges_bsds BSDS500_DIR --split {options.split} --thresholds {num_thresholds}{limit}
"""


if __name__ == "__main__":
    main()
