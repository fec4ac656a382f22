"""Photos to edge pictures from names, paths and values: what the command line and the flow have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from flows.stages.executors import Workers, executor_of
from p2p_core.config import Config
from p2p_core.errors import RasterError
from p2p_core.progress import ProgressLine
from preprocessing.edges.detect import WeightsChoice
from preprocessing.edges.directory import EdgesSummary, draw_edges
from preprocessing.edges.drawing import EdgesConfig
from preprocessing.matching import find_pictures

__all__ = ["EdgesRequest", "edges", "require_all", "tell_edges"]


class EdgesRequest(Config):
    """Edge pictures of a directory of photos.

    Attributes:
        parameters: of `EdgesConfig`; what is left out keeps its default.
        weights: a published weights file of HED; the installed one unless given.
        device: `cpu`, or `cuda` with the engine torch.
    """

    photos: Path
    out: Path
    parameters: dict[str, Any] = Field(default_factory=dict)
    weights: WeightsChoice = WeightsChoice()
    workers: Workers = Workers()
    device: str = "cpu"


def edges(request: EdgesRequest) -> EdgesSummary:
    """Make the pictures that are missing or out of date. Raises what `draw_edges` raises."""
    # Absolute: workers of a cluster may stand elsewhere.
    photos, out = request.photos.absolute(), request.out.absolute()
    config = EdgesConfig.parse(request.parameters, where="Parameters of the edges")
    num_photos = len(find_pictures(photos).by_name)
    with executor_of(request.workers) as executor, ProgressLine("edges", num_photos, "photos") as progress:
        return draw_edges(
            photos,
            out,
            config,
            request.weights,
            executor=executor,
            device=request.device,
            progress=progress,
        )


def tell_edges(made: EdgesSummary) -> str:
    """The counts, for people."""
    failed = f", {len(made.failures)} failed" if made.failures else ""
    return f"{made.num_made} made, {made.num_unchanged} unchanged{failed}"


def require_all(made: EdgesSummary) -> None:
    """Raises `RasterError` where photos were left out: it names the first and counts the others."""
    if made.failures:
        first = made.failures[0]
        raise RasterError(
            f"{len(made.failures)} of {made.num_photos} photos have no edges; {first.item}, for one: {first.detail}",
            remedy="Mend or remove them and run again; the others are done",
            reason=first.reason,
        )
