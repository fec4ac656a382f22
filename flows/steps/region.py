"""From a region's map to its translated picture, twice: as one scene, and as Web Mercator tiles."""

from __future__ import annotations

from typing import Literal

from flows.services.models import ResolvedModel
from flows.stages.translate import TranslateRequest, measure_seams, translate_with
from flows.steps.book import Done, Previous
from flows.steps.request import PipelineRequest
from p2p_core.archive.exports import export_cog, export_xyz
from p2p_core.archive.seams import SeamCheck
from p2p_core.archive.translate import ArchiveSummary
from p2p_core.config import Config

__all__ = ["Exported", "Part", "export_part", "translate_part"]

Part = Literal["scene", "xyz"]
"""The region in the aerial view's grid, or as Web Mercator tiles."""

_SOURCES: dict[Part, str] = {"scene": "scene.tif", "xyz": "xyz"}


class Exported(Config):
    """What was exported, and how visible the seams of the output are."""

    files: int
    size_bytes: int
    seam_ratio: float
    max_difference: int


def translate_part(request: PipelineRequest, part: Part, source_digest: str, model: ResolvedModel) -> Done[ArchiveSummary]:
    """Through Dask, into Zarr; a killed translation goes on with the blocks that are missing."""
    output = request.out / part
    translation = TranslateRequest(
        model=model.uri,
        source=request.out / "sources" / _SOURCES[part],
        output=output,
        workers=request.workers,
        core_px=request.core_px,
        shard_px=request.shard_px,
        chunk_px=request.chunk_px,
    )
    inputs = {
        **translation.model_dump(mode="json", include={"core_px", "shard_px", "chunk_px", "device"}),
        **model.model_dump(mode="json", include={"digest", "name", "version"}),
        "source": source_digest,
    }

    def work(_: Previous) -> ArchiveSummary:
        return translate_with(model, translation)

    def tell(made: ArchiveSummary) -> str:
        before = f", {made.num_reused} of them done before" if made.num_reused else ""
        return f"{made.num_blocks} blocks with {model.uri}{before}"

    outputs = [output / "summary.json", output / "image.zarr"]
    return request.book.once(f"translate {part}", ArchiveSummary, inputs, outputs, work, tell)


def export_part(request: PipelineRequest, part: Part, translated: ArchiveSummary) -> Done[Exported]:
    """The scene as a COG, the tiles as an XYZ tree, and both outputs checked for seams."""
    output = request.out / part
    dest = request.out / ("scene.tif" if part == "scene" else "xyz-tiles")

    def work(_: Previous) -> Exported:
        (export_cog if part == "scene" else export_xyz)(output, dest)
        seams: SeamCheck = measure_seams(output)
        files = [dest] if dest.is_file() else [path for path in dest.rglob("*") if path.is_file()]
        return Exported(
            files=len(files),
            size_bytes=sum(path.stat().st_size for path in files),
            seam_ratio=seams.ratio,
            max_difference=seams.max_difference,
        )

    def tell(made: Exported) -> str:
        size = f"{made.size_bytes / 1e6:.1f} MB in {made.files} file{'s' if made.files > 1 else ''}"
        return f"{dest.name}, {size}; steps across block borders are {made.seam_ratio:.2f} of those beside them"

    outputs = [dest, output / "seams.json"]
    return request.book.once(f"export {part}", Exported, {"output": translated.output_digest}, outputs, work, tell)
