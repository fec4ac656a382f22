"""Flow `build_dataset`: raw images to a pair store. Incremental: on a schedule it rebuilds only what changed."""

from __future__ import annotations

from prefect import flow, task

from flows.services.artifacts import publish_table
from flows.stages.build import BuildRequest, build, tell_build
from flows.wiring import RETRIES, announce
from preprocessing.build import BuildSummary


@task(name="build", **RETRIES)
def build_task(request: BuildRequest) -> BuildSummary:
    return build(request)


@flow(name="build_dataset")
def build_dataset(request: BuildRequest) -> BuildSummary:
    """Build `request.out`, or find that nothing changed, and list the counts as an artifact."""
    made = build_task(request)
    announce(f"{request.out}: {tell_build(made)}")
    rows = [{"what": split, "count": count} for split, count in made.counts.items()]
    rows += [{"what": f"rejected: {reason}", "count": count} for reason, count in made.rejected.items()]
    publish_table("dataset", rows, f"Pairs of {request.out}, dataset {made.digest[:16]}")
    return made
