"""Translate a raster with a model, and check the result."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from pydantic import Field

from flows.services.models import ResolvedModel, resolve_model
from flows.stages.executors import Workers, executor_of
from p2p_core.archive.exports import export_cog, export_xyz
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.seams import SeamCheck, check_seams
from p2p_core.archive.translate import ArchiveSummary, translate_archive
from p2p_core.config import Config
from p2p_core.errors import LedgerError
from p2p_core.files import write_json
from p2p_core.geometry import TileGrid
from p2p_core.progress import ProgressLine
from p2p_core.rasters.registry import open_raster

__all__ = ["EXPORTS", "ExportKind", "TranslateRequest", "measure_seams", "translate", "translate_with"]

ExportKind = Literal["cog", "xyz"]
EXPORTS = {"cog": export_cog, "xyz": export_xyz}


class TranslateRequest(Config):
    """One raster through one model.

    Attributes:
        model: a bundle directory or a `models:/` URI.
        source, output: see `p2p_core.archive.job.ArchiveJob`, also for core_px, shard_px and chunk_px.
    """

    model: str
    source: Path
    output: Path
    tracking_uri: str | None = None
    workers: Workers = Workers()
    device: str = "cpu"
    core_px: int = Field(256, ge=1)
    shard_px: int = Field(256, ge=1)
    chunk_px: int = Field(128, ge=1)


def translate(request: TranslateRequest) -> ArchiveSummary:
    """Raises what `resolve_model` and `translate_archive` raise, and `LedgerError` where blocks failed."""
    return translate_with(resolve_model(request.model, tracking_uri=request.tracking_uri), request)


def translate_with(model: ResolvedModel, request: TranslateRequest) -> ArchiveSummary:
    """`translate` with a model that was resolved before; `request.model` is not looked at."""
    job = ArchiveJob(
        source=request.source,
        output=request.output,
        bundle=model.bundle,
        model_name=model.name,
        model_version=model.version,
        device=request.device,
        core_px=request.core_px,
        shard_px=request.shard_px,
        chunk_px=request.chunk_px,
    )
    num_blocks = _num_blocks(request)
    label = f"translate {request.source.name}"
    with executor_of(request.workers) as executor, ProgressLine(label, num_blocks, "blocks") as progress:
        summary = translate_archive(job, executor, progress)
    _require_complete(summary, request.output)
    return summary


def measure_seams(output: Path) -> SeamCheck:
    """Check a finished output for seams and leave what was found in `output/seams.json`."""
    found = check_seams(output)
    write_json(output / "seams.json", dataclasses.asdict(found))
    return found


def _num_blocks(request: TranslateRequest) -> int:
    with open_raster(request.source) as raster:
        return len(TileGrid(raster.height_px, raster.width_px, request.shard_px, request.shard_px, keep_partial=True))


def _require_complete(summary: ArchiveSummary, output: Path) -> None:
    if summary.complete:
        return
    first = next(iter(summary.failures), None)
    why = f"; {first.reason}" if first else ""
    raise LedgerError(
        f"{summary.num_blocks - summary.num_done} of {summary.num_blocks} blocks of {output} were not made{why}",
        remedy=first.remedy if first else "Run the same translation again; what was done is kept",
    )
