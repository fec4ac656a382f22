"""Flow `translate_archive`: a raster through a model into Zarr, block by block, and out as COG or XYZ tiles."""

from __future__ import annotations

from pathlib import Path

from prefect import flow, task

from flows.services.artifacts import publish_table
from flows.stages.translate import EXPORTS, ExportKind, TranslateRequest, translate
from flows.wiring import RETRIES, announce
from p2p_core.archive.translate import ArchiveSummary


@task(name="translate", **RETRIES)
def translate_task(request: TranslateRequest) -> ArchiveSummary:
    return translate(request)


@task(name="export", **RETRIES)
def export_task(output: Path, kind: ExportKind, dest: Path) -> Path:
    return EXPORTS[kind](output, dest)


@flow(name="translate_archive")
def translate_archive(request: TranslateRequest, exports: dict[ExportKind, Path] | None = None) -> ArchiveSummary:
    """Translate what is missing or stale of `request.output`, then export it: `exports` maps `cog` or `xyz` to a place."""
    made = translate_task(request)
    announce(f"{request.output}: {made.num_blocks} blocks, {made.num_reused} of them done before")
    for kind, dest in (exports or {}).items():
        announce(f"exported {export_task(request.output, kind, dest)}")
    publish_table("archive", [made.model_dump(exclude={"failures"})], f"{request.output} with {request.model}")
    return made
