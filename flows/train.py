"""Flow `train`: a pair store to a model bundle, in a process of its own on a GPU slot, recorded in MLflow and registered.

Killed, whatever of it, it goes on from the newest checkpoint in the same MLflow run: the training process as a task that is
tried again, the flow or its worker as a run that `automations.yaml` schedules again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from prefect import flow, task
from prefect.exceptions import Abort
from prefect.runtime import flow_run, task_run

from flows.services.artifacts import publish_table
from flows.services.gpu_slot import gpu_slot
from flows.services.launcher import TrainingProcessError
from flows.services.training_page import launch_shown
from flows.stages.train import Trained, TrainRequest, run_dir_of, train_and_register
from flows.wiring import RETRIES, announce
from p2p_core.config import replace
from p2p_core.errors import OutputError
from p2p_core.files import locked, output_errors

_MAX_STARTS = 10


@task(name="train", **RETRIES)
def train_task(request: TrainRequest) -> Trained:
    # A second attempt, of the task or of the flow, goes on from the checkpoint of the first.
    is_first = task_run.run_count == 1 and flow_run.run_count == 1
    return train_and_register(request if is_first else replace(request, resume=True), launch=launch_shown)


@flow(name="train")
def train(request: TrainRequest) -> Trained:
    """Train `request.recipe` on `request.data` and list the validation metrics as an artifact."""
    _give_up_in_the_end(request)
    with _sole_process(run_dir_of(request)), _slots(request):
        made = train_task(request)
    version = f", registered as {made.name} version {made.version}" if made.name else ""
    announce(f"{made.outcome.bundle}: {made.outcome.images_seen} images{version}")
    rows = [{"metric": name, "value": value} for name, value in sorted(made.outcome.metrics.items())]
    publish_table("training", rows, f"Validation of {request.recipe} after {made.outcome.images_seen} images{version}")
    return made


def _slots(request: TrainRequest) -> AbstractContextManager[None]:
    """One a process, each of which has a GPU."""
    return gpu_slot(request.gpu_slot, announce, request.processes) if request.gpu_slot else nullcontext()


def _give_up_in_the_end(request: TrainRequest) -> None:
    """A run that crashes is scheduled again; one that always crashes must fail instead."""
    if flow_run.run_count > _MAX_STARTS:
        raise TrainingProcessError(
            f"This run was started {flow_run.run_count} times and crashed every time before",
            remedy=f"Read its logs, then start a new run: it goes on in {request.run_dir} with `resume: true`",
        )


@contextmanager
def _sole_process(run_dir: Path) -> Iterator[None]:
    """One process a flow run. Prefect starts another for a run that is alive when its heartbeats were lost, or its crash
    was reported twice; that one leaves, and the run's state is what the first one says.
    """
    busy = OutputError(f"This run trains into {run_dir} already", remedy="Wait until it is done")
    with output_errors(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    try:
        with locked(run_dir / f".flow-run-{flow_run.id}.lock", busy=busy):
            yield
    except OutputError as error:
        if error is not busy:
            raise
        announce("Another process of this very run is at work: this one leaves it alone")
        raise Abort from None
