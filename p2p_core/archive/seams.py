"""Are the blocks visible? Two independent answers, in numbers.

1. Statistics: across the borders of cores and blocks, is the step between neighbouring pixels larger than beside the
   border? A ratio of 1 means that no seam shows. "Beside" is four pixels away, at the same phase of the fine texture that
   a network's upsampling may leave: otherwise a checkerboard would pass for a seam.
2. Exactness: windows of the same shape are laid across the borders, at another offset of the lattice, and translated
   again. What they say of the same pixels may not differ by more than rounding.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.archive.job import PinnedJob
from p2p_core.archive.plan import ArchivePlan
from p2p_core.archive.store import OutputStore
from p2p_core.archive.workbench import Workbench, close_workbench, open_workbench
from p2p_core.encodings import encoding
from p2p_core.geometry import Window, align_down

__all__ = ["SeamCheck", "check_seams", "straddling_cores"]

_BESIDE_PX = 4
_STEP_FLOOR = 1e-3


@dataclass(frozen=True)
class SeamCheck:
    """What was found.

    Attributes:
        border_step, beside_step: mean absolute step between neighbouring pixels (grey levels of 255; of `bands` 255ths of the
            range) across borders of cores, and four pixels to either side of them.
        ratio: border_step / beside_step, both with a thousandth of a grey level added, so that it is finite on flat ground.
        num_borders: borders looked at, horizontal and vertical.
        num_windows: windows translated again across borders.
        max_difference: largest difference of those to the output, in grey levels, rounded up.
    """

    border_step: float
    beside_step: float
    ratio: float
    num_borders: int
    num_windows: int
    max_difference: int


def check_seams(output: Path, num_windows: int = 4) -> SeamCheck:
    """Measure a finished output.

    Args:
        num_windows: how many borders to translate again, spread over the scene; each costs one forward pass.

    Raises:
        LedgerError: `output` is no archive output, or a shard is damaged.
        RasterError, BundleError: source or model can no longer be read.
    """
    store = OutputStore(output)
    job = store.read_job()
    border_steps, beside_steps = [], []
    for border in _borders(job.plan):
        border_step, beside_step = _steps(_levels(store.read(border.window), job), border.axis)
        border_steps.append((border_step, border.length_px))
        beside_steps.append((beside_step, border.length_px))
    border_step, beside_step = _mean(border_steps), _mean(beside_steps)
    differences = _differences(store, job, num_windows)
    return SeamCheck(
        border_step=border_step,
        beside_step=beside_step,
        ratio=(border_step + _STEP_FLOOR) / (beside_step + _STEP_FLOOR),
        num_borders=len(border_steps),
        num_windows=len(differences),
        max_difference=max(differences, default=0),
    )


@dataclass(frozen=True)
class _Border:
    """Pixels across one border between cores: `_BESIDE_PX` + 1 on each side."""

    window: Window
    axis: int

    @property
    def length_px(self) -> int:
        return self.window.width_px if self.axis == 0 else self.window.height_px


def _borders(plan: ArchivePlan) -> Iterator[_Border]:
    """Borders with room on both sides, cut at shards so that a strip's length is bounded."""
    reach_px = _BESIDE_PX + 1
    for y_px in range(plan.core_px, plan.height_px - _BESIDE_PX, plan.core_px):
        for x_px in range(0, plan.width_px, plan.shard_px):
            yield _Border(Window(y_px - reach_px, x_px, 2 * reach_px, min(plan.shard_px, plan.width_px - x_px)), axis=0)
    for x_px in range(plan.core_px, plan.width_px - _BESIDE_PX, plan.core_px):
        for y_px in range(0, plan.height_px, plan.shard_px):
            yield _Border(Window(y_px, x_px - reach_px, min(plan.shard_px, plan.height_px - y_px), 2 * reach_px), axis=1)


def _levels(pixels_HWC: NDArray[Any], job: PinnedJob) -> NDArray[np.float64]:
    """The output's pixels in grey levels; where nothing was measured, 0."""
    return np.nan_to_num(encoding(job.target_encoding).to_grey_levels(pixels_HWC).astype(np.float64))


def _steps(strip_HWC: NDArray[np.float64], axis: int) -> tuple[float, float]:
    """Mean absolute step across the border, and beside it."""
    steps = np.abs(np.diff(strip_HWC, axis=axis)).mean(axis=(1 - axis, 2))
    return float(steps[_BESIDE_PX]), float(steps[[0, 2 * _BESIDE_PX]].mean())


def _mean(weighted: list[tuple[float, int]]) -> float:
    total_px = sum(length_px for _, length_px in weighted)
    return sum(value * length_px for value, length_px in weighted) / total_px if total_px else 0.0


def straddling_cores(plan: ArchivePlan) -> list[Window]:
    """Cores of the run's own size that lie across borders, their windows still on the lattice; empty for a single core.

    A core of one lattice unit cannot be moved on the lattice without landing on another core: there, two units are taken.
    """
    offset_px = max(plan.lattice_px, align_down(plan.core_px // 2, plan.lattice_px))
    size_px = max(plan.core_px, 2 * plan.lattice_px)
    ys = [border_px - offset_px for border_px in range(plan.core_px, plan.height_px, plan.core_px)]
    xs = [border_px - offset_px for border_px in range(plan.core_px, plan.width_px, plan.core_px)]
    if not ys and not xs:
        return []
    return [Window(y_px, x_px, size_px, size_px) for y_px in ys or [0] for x_px in xs or [0]]


def _differences(store: OutputStore, job: PinnedJob, num_windows: int) -> list[int]:
    """The largest difference in each window that is translated again."""
    cores = straddling_cores(job.plan)
    chosen = np.linspace(0, len(cores) - 1, min(num_windows, len(cores))).astype(int)
    try:
        return [_difference(store, open_workbench(job), cores[i]) for i in chosen]
    finally:
        close_workbench()


def _difference(store: OutputStore, bench: Workbench, core: Window) -> int:
    again_HWC = _levels(bench.translate(core), bench.job)
    stored_HWC = _levels(store.read(core.clip(bench.job.height_px, bench.job.width_px)), bench.job)
    return math.ceil(float(np.abs(again_HWC - stored_HWC).max()))
