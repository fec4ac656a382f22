"""Run an archive translation: plan, ask the ledger, translate what is missing, say what was done.

`TranslateBlock` is what a worker runs. It reads its own pixels and writes its own shard; what goes through an executor is
a pinned job, a block, and a record of a few hundred bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.archive.job import ArchiveJob, PinnedJob
from p2p_core.archive.ledger import BlockFailure, BlockRecord, Ledger, Survey
from p2p_core.archive.pin import pin_job
from p2p_core.archive.plan import ArchivePlan, Block
from p2p_core.archive.store import OutputStore
from p2p_core.archive.summary import ArchiveSummary
from p2p_core.archive.workbench import close_workbench, open_workbench
from p2p_core.errors import RasterError
from p2p_core.executor import Executor
from p2p_core.files import sha256_bytes, sha256_file, write_json
from p2p_core.geometry import Window, align_up
from p2p_core.progress import Progress

__all__ = ["ArchiveSummary", "TranslateBlock", "translate_archive", "translate_block"]


@dataclass(frozen=True)
class TranslateBlock:
    """The work of one block, sent to workers. Bad source data gives a recorded `BlockFailure`; the run goes on."""

    job: PinnedJob
    output: Path

    def __call__(self, block: Block) -> BlockRecord | BlockFailure:
        try:
            return translate_block(self.job, self.output, block)
        except RasterError as error:
            return self._fail(block, error.problem, error.remedy)

    def lost(self, block: Block, reason: str) -> BlockFailure:
        """Called by an executor that gave a block up because its workers kept dying on it."""
        return self._fail(block, reason, "Look at the workers' memory and logs, or use smaller windows, then run again")

    def _fail(self, block: Block, reason: str, remedy: str) -> BlockFailure:
        return Ledger(OutputStore(self.output), self.job).fail(block, f"{block}: {reason}", remedy)


def translate_archive(
    job: ArchiveJob, executor: Executor | None = None, progress: Progress | None = None, *, rehash: bool = False
) -> ArchiveSummary:
    """Create the output, or update it: translate the blocks that are missing or stale and no others.

    Args:
        executor: where blocks are translated; this process, one by one, unless given.
        progress: told the number of committed or failed blocks.
        rehash: compare every committed shard's sha256 first, and redo what is damaged.

    Raises:
        P2PError: source, model or output cannot be used, or another run is writing there. What was committed before
            stays committed.
    """
    pinned, store = pin_job(job), OutputStore(job.output.absolute())
    with store.sole_use():
        return _translate(pinned, store, executor, progress, rehash)


def _translate(
    pinned: PinnedJob, store: OutputStore, executor: Executor | None, progress: Progress | None, rehash: bool
) -> ArchiveSummary:
    started_s = time.monotonic()
    changed_pins = store.prepare(pinned)
    plan, ledger = pinned.plan, Ledger(store, pinned)
    before = ledger.survey(plan, rehash=rehash)
    ledger.start_run(len(before.to_do))
    num_forwards = 0
    for outcome in _run(TranslateBlock(pinned, store.root), before, executor, progress):
        num_forwards += outcome.num_forwards if isinstance(outcome, BlockRecord) else 0
    after = ledger.survey(plan)
    summary = ArchiveSummary(
        job_digest=pinned.digest,
        output_digest=after.output_digest,
        num_blocks=len(plan),
        num_done=len(after.done),
        num_reused=len(before.done),
        num_redone=sum(key in after.done for key in before.stale),
        num_forwards=num_forwards,
        overhead=plan.overhead,
        elapsed_s=time.monotonic() - started_s,
        changed_pins=changed_pins,
        failures=list(after.failed.values()),
    )
    write_json(store.summary_path, summary.model_dump(mode="json"))
    return summary


def _run(
    work: TranslateBlock, survey: Survey, executor: Executor | None, progress: Progress | None
) -> Iterator[BlockRecord | BlockFailure]:
    num_settled = len(survey.done)
    if progress:
        progress.update(num_settled)
    try:
        for outcome in executor.map(work, survey.to_do) if executor else map(work, survey.to_do):
            num_settled += 1
            if progress:
                progress.update(num_settled)
            yield outcome
    finally:
        close_workbench()


def translate_block(job: PinnedJob, output: Path, block: Block) -> BlockRecord:
    """Translate one block, write its shard, commit its record. What a worker runs.

    Raises:
        RasterError: its source pixels cannot be read.
        BundleError: the bundle is not the one that was pinned.
        OutputError: the shard cannot be written.
    """
    started_s = time.monotonic()
    store, ledger = OutputStore(output), Ledger(OutputStore(output), job)
    pixels_HWC, num_forwards, source_window_digest = _translate_pixels(job, block)
    ledger.withdraw(block)
    shard_path = store.write_block(block, pixels_HWC)
    record = BlockRecord(
        row=block.row,
        column=block.column,
        job_digest=job.digest,
        source_window_digest=source_window_digest,
        pixels_digest=sha256_bytes(pixels_HWC.tobytes()),
        shard_digest=sha256_file(shard_path),
        shard_bytes=shard_path.stat().st_size,
        num_forwards=num_forwards,
        elapsed_s=time.monotonic() - started_s,
        committed_at_s=time.time(),
    )
    ledger.commit(block, record)
    return record


def _translate_pixels(job: PinnedJob, block: Block) -> tuple[NDArray[Any], int, str]:
    """The block's pixels, the forward passes they took, and the sha256 of the source pixels read for them."""
    bench, plan = open_workbench(job), job.plan
    area = _whole_cores(plan, block)
    source_HWC, read_HWC = bench.read(plan.window(area))
    generated_HWC = np.empty((area.height_px, area.width_px, job.bands), job.pixel_dtype)
    cores = [core.shift(-area.y_px, -area.x_px) for core in plan.cores(block)]
    for core in cores:
        # `source_HWC` begins a halo before the area, so a core's window there begins where the core does in the area
        window = Window(core.y_px, core.x_px, plan.window_px, plan.window_px)
        generated_HWC[core.slices] = bench.forward(source_HWC[window.slices])
    kept = Window(0, 0, block.window.height_px, block.window.width_px)
    pixels_HWC = np.ascontiguousarray(generated_HWC[kept.slices])
    bench.mark_nodata(pixels_HWC, source_HWC[kept.shift(plan.halo_px, plan.halo_px).slices])
    return pixels_HWC, len(cores), sha256_bytes(np.ascontiguousarray(read_HWC).tobytes())


def _whole_cores(plan: ArchivePlan, block: Block) -> Window:
    """The block's area in whole cores: at the scene's edge it reaches beyond the scene."""
    area = block.window
    return Window(area.y_px, area.x_px, align_up(area.height_px, plan.core_px), align_up(area.width_px, plan.core_px))
