"""Flow `build_dataset`: raw images to a pair store. Incremental: on a schedule it rebuilds only what changed.

With `drift` in its request it fails where the data drifted beyond limits, and the version before stays current.
"""

from __future__ import annotations

from prefect import flow, task

from flows.services.dataset_artifacts import publish_dataset, publish_drift
from flows.stages.build import BuildRequest, build, tell_build
from flows.wiring import RETRIES, announce
from preprocessing.build import BuildSummary
from preprocessing.drift import DriftError


@task(name="build", **RETRIES)
def build_task(request: BuildRequest) -> BuildSummary:
    return build(request)


@flow(name="build_dataset")
def build_dataset(request: BuildRequest) -> BuildSummary:
    """Build `request.out`, or find that nothing changed, and show its counts, rejections and some pairs as artifacts."""
    try:
        made = build_task(request)
    except DriftError as error:
        publish_drift(request.out, error.drift)
        raise
    announce("\n".join([f"{request.out}: {tell_build(made)}", *(f"hint: {hint}" for hint in made.hints)]))
    publish_dataset(request.out, made)
    return made
