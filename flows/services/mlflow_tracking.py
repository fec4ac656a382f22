"""Training runs in MLflow: one explicit run id, what a run's directory has, and a server that is away never stops the work."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Param
from mlflow.exceptions import MlflowException

from flows.services.mlflow_client import connect, experiment_id, mlflow_errors
from flows.services.mlflow_dataset import training_dataset
from flows.services.mlflow_metrics import MetricFeed
from p2p_core.config import Config
from p2p_core.errors import CheckpointError, OutputError, ServiceError
from p2p_core.files import write_json
from p2p_core.pairstore.reader import PairStore
from p2p_core.training.tracker import Parameter

__all__ = ["MlflowTracker", "RunRecord", "RunStatus", "read_run_record", "start_run"]

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_RECORD = "mlflow_run.json"
_SHEETS = "sheets"
_EVERY_S, _RETRY_S, _LEAVE_S = 1.0, 10.0, 60.0
_SHARE = 0.01
"""Of a core's time that the thread may take from the training: it rests a hundred times as long as it worked."""

# MLflow's own limits.
_MAX_PARAMETERS = 100
_MAX_PARAMETER_CHARACTERS = 6000


class RunRecord(Config):
    """Which MLflow run a run directory belongs to, so that a resumed training goes on in the same one."""

    tracking_uri: str
    experiment: str
    run_id: str

    def is_at(self, tracking_uri: str, experiment: str) -> bool:
        return (self.tracking_uri, self.experiment) == (tracking_uri, experiment)


def read_run_record(run_dir: Path) -> RunRecord | None:
    path = run_dir / _RECORD
    return RunRecord.parse(json.loads(path.read_bytes()), where=str(path), error=CheckpointError) if path.exists() else None


def start_run(tracking_uri: str, experiment: str, run_dir: Path, *, tags: Mapping[str, str]) -> tuple[MlflowClient, str]:
    """Start a run, or take up the one that `run_dir` recorded for the same address and experiment.

    Raises:
        ServiceError: MLflow does not answer.
    """
    client = connect(tracking_uri, create=True)
    with mlflow_errors(tracking_uri):
        known = read_run_record(run_dir)
        if known is not None and known.is_at(tracking_uri, experiment) and _is_active(client, known.run_id):
            client.update_run(known.run_id, status="RUNNING")
            return client, known.run_id
        where = experiment_id(client, tracking_uri, experiment)
        run_id = str(client.create_run(where, run_name=run_dir.resolve().name, tags=dict(tags)).info.run_id)
    record = RunRecord(tracking_uri=tracking_uri, experiment=experiment, run_id=run_id)
    write_json(run_dir / _RECORD, record.model_dump())
    return client, run_id


def _is_active(client: MlflowClient, run_id: str) -> bool:
    """False where somebody deleted the run, or the whole store it was in."""
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


class MlflowTracker:
    """A `p2p_core.training.tracker.Tracker` that keeps one MLflow run the same as the run's directory, from its own thread.

    Use it beside `JsonLinesTracker`, whose `metrics.jsonl` it sends. No call of a training waits for the server; while that is
    away, or refuses, training goes on, and all that is missing follows when it answers again, now or when the run is resumed.

    Attributes:
        run_id: None until the server answered for the first time.
        spent_s: processor time that the thread has taken so far.

    Raises:
        OutputError: an embedded store cannot be written.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        run_dir: Path,
        *,
        tags: Mapping[str, str],
        store: PairStore | None = None,
        warn: Callable[[str], None] | None = None,
        retry_s: float = _RETRY_S,
    ) -> None:
        self.run_id: str | None = None
        self.spent_s = 0.0
        self._where, self._run_dir, self._tags, self._store = (tracking_uri, experiment), run_dir, tags, store
        self._warn, self._retry_s = warn or _warn_on_stderr, retry_s
        self._parameters: Mapping[str, Parameter] = {}
        self._pictures = {f"{_SHEETS}/{path.name}": (path, 0.0) for path in sorted(run_dir.glob(f"{_SHEETS}/*.png"))}
        self._run: _Run | None = None
        self._is_away = self._is_told = False
        self._status: RunStatus | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._deliver()
        self._thread = threading.Thread(target=self._follow, name="mlflow", daemon=True)
        self._thread.start()

    def log_parameters(self, parameters: Mapping[str, Parameter]) -> None:
        self._parameters = dict(parameters)

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None:
        """They are in `metrics.jsonl`, and sent from there."""

    def log_picture(self, name: str, path: Path) -> None:
        """`name` is the place among the run's artifacts; it ends in the file's own name: `sheets/00001000.png`."""
        self._pictures[name] = (path, time.monotonic())

    def close(self) -> None:
        """Nothing to close: only the owner knows how the run ended, and calls `finish`."""

    def finish(self, status: RunStatus) -> None:
        """Send what is left and end the run. A server that does not answer holds this up for a minute at most."""
        self._status = status
        self._ended.set()
        if self._thread is not None:
            self._thread.join(_LEAVE_S)
        if not self._is_told:
            self._warn(
                f"MLflow at {self._where[0]} does not have all of this run. It is in {self._run_dir}: the same command with "
                "--resume sends what is missing."
            )

    def _follow(self) -> None:
        pause_s = _EVERY_S
        while not self._ended.wait(pause_s):
            self._deliver()
            before_s, self.spent_s = self.spent_s, time.thread_time()
            pause_s = max(self._retry_s if self._is_away else _EVERY_S, (self.spent_s - before_s) / _SHARE)
        self._deliver()

    def _deliver(self) -> None:
        try:
            with mlflow_errors(self._where[0]):
                if self._run is None:
                    self._connect()
                self._send()
        except (ServiceError, OutputError) as error:
            if isinstance(error, OutputError) and self._thread is None:
                raise
            self._run = None  # what it has is not known any more
            if not self._is_away:
                self._warn(
                    f"{error.problem}. Training goes on; what MLflow misses follows from {self._run_dir} when it answers."
                )
            self._is_away = True
        else:
            if self._is_away:
                self._warn(f"MLflow at {self._where[0]} answers again, and is sent what it missed.")
            self._is_away = False

    def _connect(self) -> None:
        client, self.run_id = start_run(*self._where, self._run_dir, tags=self._tags)
        self._run = _Run(client, self.run_id, MetricFeed(self._run_dir / "metrics.jsonl", client, self.run_id))

    def _send(self) -> None:
        """Metrics first: whatever a server may refuse of the rest, they are there."""
        run, status = self._run, self._status  # as they are now
        assert run is not None
        while run.metrics.send_some() and status is not None:  # else the rest comes next time: a backlog is no hurry
            pass
        if self._parameters and not run.has_parameters:
            _send_parameters(run, self._parameters)
            run.has_parameters = True
        if self._store is not None and not run.has_dataset:
            _log_once(run, training_dataset(self._store))
            run.has_dataset = True
        for name, (path, logged_s) in list(self._pictures.items()):
            if run.pictures.get(name) != logged_s:
                folder = str(PurePosixPath(name).parent)
                run.client.log_artifact(run.run_id, str(path), artifact_path=None if folder == "." else folder)
                run.pictures[name] = logged_s
        if status is not None:
            run.client.set_terminated(run.run_id, status=status)
            self._is_told = True


@dataclass
class _Run:
    """What a run is known to have. `pictures`: when those were logged that it has."""

    client: MlflowClient
    run_id: str
    metrics: MetricFeed
    has_parameters: bool = False
    has_dataset: bool = False
    pictures: dict[str, float] = field(default_factory=dict)


def _send_parameters(run: _Run, parameters: Mapping[str, Parameter]) -> None:
    """MLflow changes no parameter: what a resumed run has another value of (alarms, the budget) becomes a tag."""
    values = {key: str(value)[:_MAX_PARAMETER_CHARACTERS] for key, value in parameters.items()}
    known = run.client.get_run(run.run_id).data.params
    new = [Param(key, value) for key, value in values.items() if key not in known]
    for start in range(0, len(new), _MAX_PARAMETERS):
        run.client.log_batch(run.run_id, params=new[start : start + _MAX_PARAMETERS])
    for key, value in values.items():
        if known.get(key, value) != value:
            run.client.set_tag(run.run_id, f"p2p.resumed.{key}", value)


def _log_once(run: _Run, entry: DatasetInput) -> None:
    """Name what the run trains on; once, also where a resumed run says it again."""
    inputs = run.client.get_run(run.run_id).inputs.dataset_inputs
    if (entry.dataset.name, entry.dataset.digest) not in [(other.dataset.name, other.dataset.digest) for other in inputs]:
        run.client.log_inputs(run.run_id, [entry])


def _warn_on_stderr(message: str) -> None:
    print(f"Warning: {message}", file=sys.stderr, flush=True)
