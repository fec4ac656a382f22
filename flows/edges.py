"""Flow `edges`: a directory of photos to edge pictures. Incremental: on a schedule it draws only what is new or changed."""

from __future__ import annotations

from prefect import flow, task

from flows.services.artifacts import publish_table
from flows.stages.edges import EdgesRequest, require_all, tell_edges
from flows.stages.edges import edges as edges_stage
from flows.wiring import RETRIES, announce
from preprocessing.edges.directory import EdgesSummary


@task(name="edges", **RETRIES)
def edges_task(request: EdgesRequest) -> EdgesSummary:
    return edges_stage(request)


@flow(name="edges")
def edges(request: EdgesRequest) -> EdgesSummary:
    """Draw what is missing in `request.out`, list the photos left out as an artifact, and fail if there are any."""
    made = edges_task(request)
    announce(f"{request.out}: {tell_edges(made)}")
    rows = [{"photo": failure.item, "reason": failure.reason, "detail": failure.detail} for failure in made.failures]
    publish_table("edges-failures", rows, f"Photos of {request.photos} without edges")
    require_all(made)
    return made
