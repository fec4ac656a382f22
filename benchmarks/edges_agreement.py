"""Claim: our edges agree with the ones the paper published in edges2shoes and edges2handbags.

The left half of each published picture is the photo, the right half its edges. Ours are drawn from the photo and scored
against the published ones (preprocessing.edges.agreement). The tuning was done on files with an odd number; the figures to
report are of the even ones. `--sheets` also writes sheets to look at, of both parities: photo, published, ours.

    python -m benchmarks.edges_agreement ../shared/data [--parity even] [--limit N] [--sheets DIR]
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.config import replace
from preprocessing.edges.agreement import TOLERANCE_PX, Agreement, agreement, lines_of_picture, mean_agreement
from preprocessing.edges.detect import EdgeDetector
from preprocessing.edges.drawing import EdgesConfig
from preprocessing.edges.thinning import edge_lines
from preprocessing.edges.weights import HEDWeights, read_weights
from preprocessing.photos import read_photo

_DATASETS = ("edges2handbags", "edges2shoes")
_PARITIES = ("even", "odd")
_SIZE_PX = 256
_DEFAULT = EdgesConfig()
_PUBLISHED_THRESHOLD = replace(_DEFAULT, thinning=replace(_DEFAULT.thinning, threshold=25 / 255))
_NO_PADDING = replace(_DEFAULT, detector=replace(_DEFAULT.detector, padding_px=0))
_VARIANTS = {
    "default (threshold 33/255, padding 48 px)": _DEFAULT,
    "published threshold 25/255": _PUBLISHED_THRESHOLD,
    "no padding": _NO_PADDING,
}
_ROWS, _COLUMNS, _GAP_PX, _CAPTION_PX = 10, 2, 8, 14


@dataclass
class _Scores:
    """Of one dataset: what was scored, and the figures of each by variant."""

    names: list[str] = field(default_factory=list)
    by_variant: dict[str, list[Agreement]] = field(default_factory=lambda: {name: [] for name in _VARIANTS})


def main() -> None:
    options = _options()
    weights = read_weights()
    detectors = {config: EdgeDetector(weights, config) for config in {v.detector for v in _VARIANTS.values()}}
    scores = {
        name: _score(_files(options.data / name), name, detectors, options.parity, options.limit, options.sheets)
        for name in _DATASETS
    }
    write_result(f"edges-agreement-{options.parity}", _report(scores, options.parity, weights))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DIR", help=f"holds {' and '.join(_DATASETS)}")
    parser.add_argument("--parity", choices=_PARITIES, default="even", help="of the number a file's name begins with")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N of each dataset, to try the script")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="write pictures of all photos, of both parities")
    return parser.parse_args()


def _files(dataset: Path) -> list[Path]:
    """Ordered by number."""
    files = sorted(dataset.rglob("*.jpg"), key=lambda path: (_number(path), path.name))
    if not files:
        raise SystemExit(f"There are no pictures under {dataset}")
    return files


def _number(path: Path) -> int:
    found = re.match(r"\d+", path.name)
    if not found:
        raise SystemExit(f"{path} has no number, so it has no parity")
    return int(found.group())


def _score(
    files: Sequence[Path], dataset: str, detectors: dict[Any, EdgeDetector], parity: str, limit: int | None, sheets: Path | None
) -> _Scores:
    scores, rows = _Scores(), []
    scored = [path for path in files if _PARITIES[_number(path) % 2] == parity][:limit]
    for path in files[:limit] if sheets else scored:
        photo_HWC, published_HW = _halves(path)
        reference_HW = lines_of_picture(published_HW)
        probability_HW = detectors[_DEFAULT.detector].probability(photo_HWC)
        ours_HW = edge_lines(probability_HW, _DEFAULT.thinning)
        if path in scored:
            scores.names.append(path.name)
            probabilities = {_DEFAULT.detector: probability_HW}
            for name, config in _VARIANTS.items():
                if config.detector not in probabilities:
                    probabilities[config.detector] = detectors[config.detector].probability(photo_HWC)
                lines_HW = edge_lines(probabilities[config.detector], config.thinning)
                scores.by_variant[name].append(agreement(lines_HW, reference_HW))
        if sheets:
            caption = f"{path.name}  F {agreement(ours_HW, reference_HW).f:.3f}"
            rows.append(_triple(photo_HWC, published_HW, ours_HW, caption))
    if sheets:
        _write_sheets(rows, sheets, dataset)
    return scores


def _halves(path: Path) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """The photo (H, W, 3), and the published edges (H, W), black on white."""
    pair_HWC = read_photo(path)
    if pair_HWC.shape != (_SIZE_PX, 2 * _SIZE_PX, 3):
        raise SystemExit(f"{path} is {pair_HWC.shape}, not {_SIZE_PX} x {2 * _SIZE_PX} in RGB")
    published_HW: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(pair_HWC[:, _SIZE_PX:]), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(pair_HWC[:, :_SIZE_PX]), published_HW


def _report(scores: dict[str, _Scores], parity: str, weights: HEDWeights) -> str:
    rows = []
    for dataset, found in scores.items():
        for variant, figures in found.by_variant.items():
            mean = mean_agreement(figures)
            rows.append((dataset, variant, *(f"{value:.3f}" for value in mean)))
    counts = ", ".join(f"{len(found.names)} of {dataset}" for dataset, found in scores.items())
    worst = []
    for dataset, found in scores.items():
        figures = found.by_variant[next(iter(_VARIANTS))]
        order = np.argsort([figure.f for figure in figures])
        quartiles = np.percentile([figure.f for figure in figures], (5, 50, 95))
        lowest = ", ".join(f"{found.names[index]} {figures[index].f:.3f}" for index in order[:5])
        worst.append((dataset, *(f"{value:.3f}" for value in quartiles), lowest))
    role = "; these are the others." if parity == "even" else ", which are these: not figures to report."
    return f"""# Agreement with the paper's published edges, {parity} files

{table(("dataset", "variant", "precision", "recall", "F"), rows)}

Spread of F over the photos, default:

{table(("dataset", "5 %", "median", "95 %", "lowest"), worst)}

Protocol: the left half of each picture is the photo, the right half the published edges (darker than 128, out of JPEG).
Both line maps are thinned; a pixel is matched where the other map has one within {TOLERANCE_PX:g} px; precision is the matched
share of ours, recall that of the published; means of the per-photo figures. Many of our pixels may match one of theirs.
Photos are {_SIZE_PX} px JPEG, not the originals the authors drew from, and their weights were not ours.

Photos: {counts}, those whose file's name begins with an {parity} number.
The threshold 33/255 was chosen on the odd files{role}

Weights: sha256 {weights.sha256}. {hardware_name()}; engine {_DEFAULT.detector.engine}.

    python -m benchmarks.edges_agreement DATA --parity {parity}
"""


def _triple(
    photo_HWC: NDArray[Any], published_HW: NDArray[np.uint8], ours_HW: NDArray[np.bool_], caption: str
) -> NDArray[np.uint8]:
    """Photo, published, ours side by side under a caption: (H, W, 3)."""
    gap = np.full((_SIZE_PX, 1, 3), 160, np.uint8)
    published_HWC, ours_HWC = (
        np.repeat(gray_HW[..., np.newaxis], 3, axis=2) for gray_HW in (published_HW, np.where(ours_HW, 0, 255).astype(np.uint8))
    )
    pictures_HWC = np.hstack([photo_HWC, gap, published_HWC, gap, ours_HWC])
    title_HWC = np.full((_CAPTION_PX, pictures_HWC.shape[1], 3), 255, np.uint8)
    cv2.putText(title_HWC, caption, (2, _CAPTION_PX - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
    triple_HWC: NDArray[np.uint8] = np.vstack([title_HWC, pictures_HWC])
    return triple_HWC


def _write_sheets(triples: Sequence[NDArray[np.uint8]], sheets: Path, dataset: str) -> None:
    sheets.mkdir(parents=True, exist_ok=True)
    height_px, width_px, _ = triples[0].shape
    for number, start in enumerate(range(0, len(triples), _ROWS * _COLUMNS), start=1):
        shown = triples[start : start + _ROWS * _COLUMNS]
        num_rows = -(-len(shown) // _COLUMNS)
        sheet_HWC = np.full((num_rows * (height_px + _GAP_PX), _COLUMNS * (width_px + _GAP_PX), 3), 255, np.uint8)
        for index, triple_HWC in enumerate(shown):
            top, left = (height_px + _GAP_PX) * (index // _COLUMNS), (width_px + _GAP_PX) * (index % _COLUMNS)
            sheet_HWC[top : top + height_px, left : left + width_px] = triple_HWC
        Image.fromarray(sheet_HWC).save(sheets / f"{dataset}_{number:02}.png")


if __name__ == "__main__":
    main()
