"""Tables of the page as text and numbers: scores beside the baselines, how long each step took, names and values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from p2p_core.progress import format_duration
from p2p_core.report.records import Demo, Evaluation, Scores
from p2p_core.training.alarms import MEANINGS, REMEDIES, metric_of

__all__ = [
    "AlarmRow",
    "Cell",
    "ScoreColumn",
    "ScoreRow",
    "ScoreTable",
    "StepRow",
    "alarm_rows",
    "facts",
    "score_table",
    "step_rows",
]

ROW_LABELS = {
    "model": ("The model", "trained here"),
    "affine": ("Affine colour fit", "one colour formula for every pixel, fitted on the training split"),
    "identity": ("Identity", "the input itself, unchanged"),
}


@dataclass(frozen=True)
class ScoreColumn:
    """A score: how it is called, what is better, and how far a value is from the best there could be."""

    field: str
    label: str
    better: str
    digits: int
    badness: Callable[[float], float]


def _distance_from_one(ratio: float) -> float:
    """Twice as much is as far from 1 as half as much."""
    return abs(math.log(max(ratio, 1e-9)))


COLUMNS = (
    ScoreColumn("l1", "L1, grey levels of 255", "lower is better", 2, lambda v: v),
    ScoreColumn("psnr_db", "PSNR, dB", "higher is better", 2, lambda v: -v),
    ScoreColumn("ssim", "SSIM", "higher is better", 3, lambda v: -v),
    ScoreColumn("gradient_energy_ratio", "Gradient energy, of the target's", "nearest 1 is best", 2, _distance_from_one),
    ScoreColumn("checkerboard_ratio", "Checkerboard, of the target's", "nearest 1 is best", 2, _distance_from_one),
)


@dataclass(frozen=True)
class Cell:
    text: str
    best: bool


@dataclass(frozen=True)
class ScoreRow:
    label: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class ScoreTable:
    split: str
    num_images: int
    columns: tuple[ScoreColumn, ...]
    rows: tuple[ScoreRow, ...]
    protocol: tuple[tuple[str, str], ...]


def score_table(evaluation: Evaluation) -> ScoreTable:
    """Rows in the order of `ROW_LABELS`, then any other; the best of every column is marked (all of them on a tie)."""
    names = [*(n for n in ROW_LABELS if n in evaluation.scores), *sorted(evaluation.scores.keys() - ROW_LABELS)]
    best = {column.field: _best(column, evaluation.scores) for column in COLUMNS}
    rows = []
    for name in names:
        scores = evaluation.scores[name]
        label, note = ROW_LABELS.get(name, (name, ""))
        cells = tuple(_cell(column, getattr(scores, column.field), best[column.field]) for column in COLUMNS)
        rows.append(ScoreRow(label, note, cells))
    return ScoreTable(evaluation.split, evaluation.num_images, COLUMNS, tuple(rows), facts(evaluation.protocol))


def _best(column: ScoreColumn, scores: Mapping[str, Scores]) -> float | None:
    values = [getattr(s, column.field) for s in scores.values()]
    badness = [column.badness(v) for v in values if v is not None and math.isfinite(v)]
    return min(badness) if len(badness) > 1 else None


def _cell(column: ScoreColumn, value: float | None, best: float | None) -> Cell:
    if value is None:
        return Cell("not taken", best=False)
    return Cell(f"{value:.{column.digits}f}", best=best is not None and column.badness(value) == best)


@dataclass(frozen=True)
class StepRow:
    name: str
    detail: str
    duration: str
    percent: float
    """Length of the bar: the share of the longest step."""
    reused: bool


def step_rows(demo: Demo) -> tuple[StepRow, ...]:
    longest_s = max((step.elapsed_s for step in demo.steps), default=0.0) or 1.0
    return tuple(
        StepRow(s.name, s.detail, duration(s.elapsed_s), round(100 * s.elapsed_s / longest_s, 1), s.reused) for s in demo.steps
    )


def duration(seconds: float) -> str:
    """`format_duration`, with a decimal below ten seconds, where steps differ."""
    return f"{seconds:.1f} s" if seconds < 10 else format_duration(seconds)


def facts(values: Mapping[str, Any], parent: str = "") -> tuple[tuple[str, str], ...]:
    """Nested values as (name, text) in the order given; names of groups lead: `model bundle`."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        label = f"{parent} {name}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            rows.extend(facts(value, label))
        elif value is not None:
            rows.append((label, ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)))
    return tuple(rows)


@dataclass(frozen=True)
class AlarmRow:
    name: str
    images_seen: int
    meaning: str
    remedy: str


def alarm_rows(metrics: Sequence[Mapping[str, float]]) -> tuple[AlarmRow, ...]:
    """The alarms that a run recorded among its metrics, in their order."""
    return tuple(
        AlarmRow(kind.capitalize(), int(row["images_seen"]), meaning, REMEDIES[kind])
        for row in metrics
        for kind, meaning in MEANINGS.items()
        if metric_of(kind) in row
    )
