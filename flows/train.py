"""Flow `train`: a pair store to a model bundle, in a process of its own, recorded in MLflow and registered."""

from __future__ import annotations

from prefect import flow, task
from prefect.runtime import task_run

from flows.services.artifacts import publish_table
from flows.stages.train import Trained, TrainRequest, train_and_register
from flows.wiring import RETRIES, announce
from p2p_core.config import replace


@task(name="train", **RETRIES)
def train_task(request: TrainRequest) -> Trained:
    # A second attempt goes on from the checkpoint of the first.
    return train_and_register(request if task_run.run_count == 1 else replace(request, resume=True))


@flow(name="train")
def train(request: TrainRequest) -> Trained:
    """Train `request.recipe` on `request.data` and list the validation metrics as an artifact."""
    made = train_task(request)
    version = f", registered as {made.name} version {made.version}" if made.name else ""
    announce(f"{made.outcome.bundle}: {made.outcome.images_seen} images{version}")
    rows = [{"metric": name, "value": value} for name, value in sorted(made.outcome.metrics.items())]
    publish_table("training", rows, f"Validation of {request.recipe} after {made.outcome.images_seen} images{version}")
    return made
