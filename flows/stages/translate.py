"""Translate a raster with a model, and check the result."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field

from flows.services.models import ResolvedModel, resolve_model
from flows.stages.executors import Workers, executor_of
from p2p_core.archive.exports import export_cog, export_png, export_xyz, refuse_foreign_png
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.seams import SeamCheck, check_seams
from p2p_core.archive.translate import ArchiveSummary, translate_archive
from p2p_core.config import Config, replace
from p2p_core.errors import LedgerError, UsageError
from p2p_core.files import output_errors, write_json
from p2p_core.geometry import TileGrid
from p2p_core.progress import ProgressLine
from p2p_core.rasters.registry import FILE_FORMATS, open_raster

__all__ = [
    "EXPORTS",
    "ExportKind",
    "TranslateRequest",
    "is_picture",
    "measure_seams",
    "translate",
    "translate_picture",
    "translate_with",
]

ExportKind = Literal["cog", "xyz", "png"]
EXPORTS = {"cog": export_cog, "xyz": export_xyz, "png": export_png}


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
    # Of one block a second process would only have to be started.
    workers = request.workers if num_blocks > 1 or request.workers.scheduler else Workers()
    with executor_of(workers) as executor, ProgressLine(label, num_blocks, "blocks") as progress:
        summary = translate_archive(job, executor, progress)
    _require_complete(summary, request.output)
    return summary


def is_picture(output: Path) -> bool:
    """Whether the output is to be one PNG rather than a directory.

    Raises:
        UsageError: its name ends as other image files' do.
    """
    suffix = output.suffix.lower()
    if suffix != ".png" and suffix in FILE_FORMATS:
        raise UsageError(
            f"{output} cannot be the output: a picture is written as PNG, anything else into a directory",
            remedy=f"Name {output.with_suffix('.png').name}, or a directory and then p2p export",
        )
    return suffix == ".png"


def translate_picture(request: TranslateRequest) -> Path:
    """`translate` to the one PNG `request.output`; a run that is killed leaves nothing and begins anew.

    Raises what `translate` and `export_png` raise.
    """
    dest = request.output.absolute()
    if dest.resolve() == request.source.resolve():
        raise UsageError(f"{request.output} is the source itself", remedy="Name another file")
    refuse_foreign_png(dest)  # now, not after the work
    with output_errors(dest):
        place = tempfile.mkdtemp(prefix=f".{dest.name}.", dir=dest.parent)
    try:
        output = Path(place) / "output"
        translate(replace(request, output=output))
        export_png(output, dest)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return request.output


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
