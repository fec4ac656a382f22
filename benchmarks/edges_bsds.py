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
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.config import replace
from preprocessing.edges.detect import DetectorConfig, EdgeDetector
from preprocessing.edges.thinning import ThinningConfig, ridges, thin
from preprocessing.edges.weights import read_weights
from preprocessing.photos import read_photo

__all__ = ["Counts", "Scores", "image_counts", "match", "score", "threshold_steps"]

LABEL = "training-set figures; comparable with .790 is only the test split"
MAX_DISTANCE = 0.0075
"""Of the image's diagonal: pixels further apart do not match."""

_LOWEST = replace(ThinningConfig(), threshold=0.0)
_UNMATCHED_COST = 100  # times the largest distance, as in the benchmark
_LEAST_COST = 1e-3  # a sparse matrix takes 0 for no entry
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
    """Pairs off pixels of the two maps, one to one, none further apart than `max_px`, at the least cost.

    A pair costs its distance, a pixel without a partner far more: as many pairs as can be, and of those the nearest.

    Returns:
        Our pixels that have a partner (H, W), and how many those are: as many as the human pixels that have one.
    """
    matched_HW = np.zeros_like(ours_HW)
    ours_y, ours_x = np.nonzero(ours_HW)
    num_ours, reach_px = len(ours_y), int(max_px)
    numbers_HW = np.full(ours_HW.shape, -1, np.int32)
    numbers_HW[ours_HW] = np.arange(num_ours, dtype=np.int32)
    numbers_HW = np.pad(numbers_HW, reach_px, constant_values=-1)
    near_y, near_x = _offsets(max_px)
    human_y, human_x = np.nonzero(human_HW)
    width_px = ours_HW.shape[1] + 2 * reach_px
    places = ((human_y + reach_px) * width_px + human_x + reach_px)[:, np.newaxis] + near_y * width_px + near_x
    candidates = numbers_HW.ravel()[places]
    candidates = candidates[(candidates >= 0).any(axis=1)]
    num_human = len(candidates)
    if not num_human:
        return matched_HW, 0
    found = candidates >= 0
    # The assignment wants a partner for every row: each human pixel may also take a dummy of its own.
    dummies = num_ours + np.arange(num_human)[:, np.newaxis]
    costs = np.broadcast_to(np.hypot(near_y, near_x) + _LEAST_COST, found.shape)
    all_found = np.hstack([found, np.ones((num_human, 1), bool)])
    all_costs = np.hstack([costs, np.full((num_human, 1), _UNMATCHED_COST * max_px)])
    columns = np.hstack([candidates, dummies])[all_found].astype(np.int32)
    ends = np.concatenate([[0], np.cumsum(all_found.sum(axis=1))]).astype(np.int32)
    graph = csr_array((all_costs[all_found], columns, ends), shape=(num_human, num_ours + num_human))
    _, partners = min_weight_full_bipartite_matching(graph)
    partners = partners[partners < num_ours]
    matched_HW[ours_y[partners], ours_x[partners]] = True
    return matched_HW, len(partners)


def _offsets(max_px: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(y, x) of all pixels within `max_px`."""
    reach_px = int(max_px)
    y, x = (axis.ravel() for axis in np.mgrid[-reach_px : reach_px + 1, -reach_px : reach_px + 1])
    near = y**2 + x**2 <= max_px**2
    return y[near], x[near]


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

What differs from the benchmark's own code: it assigns pixels with CSA++, which takes integer costs and gives each
unmatched pixel some outliers drawn at random. Here SciPy's exact assignment runs on the distances themselves, and a human
pixel without a partner takes a dummy at the same cost, {_UNMATCHED_COST} times the largest distance. Assignments of equal or
almost equal cost may match other pixels of ours, which moves precision by a few thousandths. The benchmark takes 99
thresholds, and the photos of the test split.

{elapsed_s:.0f} s on {hardware_name()}. Weights: sha256 {weights_sha256}; engine {DetectorConfig().engine}.

    python -m benchmarks.edges_bsds BSDS500_DIR --split {options.split} --thresholds {num_thresholds}{limit}
"""


if __name__ == "__main__":
    main()
