"""Training runs in MLflow: one explicit run id, metrics in batches, and a server that is away never stops the work."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param
from mlflow.exceptions import MlflowException

from flows.services.mlflow_client import connect, experiment_id, mlflow_errors
from flows.services.mlflow_dataset import training_dataset
from p2p_core.config import Config
from p2p_core.errors import CheckpointError, ServiceError
from p2p_core.files import write_json
from p2p_core.pairstore.reader import PairStore

__all__ = ["MlflowTracker", "RunRecord", "RunStatus", "read_run_record", "start_run", "start_tracker"]

RunStatus = Literal["FINISHED", "FAILED", "KILLED"]

_RECORD = "mlflow_run.json"
_FLUSH_S = 3.0
# MLflow's own limits for one log_batch call.
_MAX_METRICS = 1000
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
    """A `p2p_core.training.tracker.Tracker` that writes to one MLflow run.

    Use it beside `JsonLinesTracker`, which keeps everything on disk: after the first refusal of the server this one
    warns once and stays silent, since every further call would wait for the server again.
    """

    def __init__(self, client: MlflowClient, run_id: str, *, warn: Callable[[str], None] | None = None) -> None:
        self.run_id = run_id
        self._client = client
        self._warn = warn or _warn_on_stderr
        self._pending: list[Metric] = []
        self._flushed_s = time.monotonic()
        self._away = False

    def log_parameters(self, parameters: Mapping[str, str | float | int | bool]) -> None:
        params = [Param(key, str(value)[:_MAX_PARAMETER_CHARACTERS]) for key, value in parameters.items()]
        for start in range(0, len(params), _MAX_PARAMETERS):
            self._send(partial(self._client.log_batch, self.run_id, params=params[start : start + _MAX_PARAMETERS]))

    def log_dataset(self, store: PairStore) -> None:
        """Name `store` as what this run trains on; once, also where a resumed run says it again."""
        self._send(partial(self._log_once, training_dataset(store)))

    def _log_once(self, entry: DatasetInput) -> None:
        known = [
            (other.dataset.name, other.dataset.digest) for other in self._client.get_run(self.run_id).inputs.dataset_inputs
        ]
        if (entry.dataset.name, entry.dataset.digest) not in known:
            self._client.log_inputs(self.run_id, [entry])

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None:
        now_ms = int(time.time() * 1000)
        self._pending += [Metric(key, float(value), now_ms, images_seen) for key, value in metrics.items()]
        if len(self._pending) >= _MAX_METRICS or time.monotonic() - self._flushed_s >= _FLUSH_S:
            self._flush()

    def log_picture(self, name: str, path: Path) -> None:
        """`name` is the place among the run's artifacts; it ends in the file's own name: `sheets/00001000.png`."""
        folder = str(PurePosixPath(name).parent)
        place = None if folder == "." else folder
        self._send(partial(self._client.log_artifact, self.run_id, str(path), artifact_path=place))

    def close(self) -> None:
        """Deliver what is pending. The run stays RUNNING until `finish`: only its owner knows how it ended."""
        self._flush()

    def finish(self, status: RunStatus) -> None:
        self._flush()
        self._send(partial(self._client.set_terminated, self.run_id, status=status))

    def _flush(self) -> None:
        self._flushed_s = time.monotonic()
        pending, self._pending = self._pending, []
        for start in range(0, len(pending), _MAX_METRICS):
            self._send(partial(self._client.log_batch, self.run_id, metrics=pending[start : start + _MAX_METRICS]))

    def _send(self, call: Callable[[], object]) -> None:
        if self._away:
            return
        try:
            with mlflow_errors(f"run {self.run_id}"):
                call()
        except ServiceError as error:
            self._away = True
            self._warn(f"{error.problem}. Training goes on; its metrics stay in metrics.jsonl.")


def _warn_on_stderr(message: str) -> None:
    print(f"Warning: {message}", file=sys.stderr, flush=True)


def start_tracker(tracking_uri: str, experiment: str, run_dir: Path, *, tags: Mapping[str, str]) -> MlflowTracker | None:
    """A tracker of a new or resumed run; None, with a warning, where MLflow is away: training does not need it."""
    try:
        return MlflowTracker(*start_run(tracking_uri, experiment, run_dir, tags=tags))
    except ServiceError as error:
        _warn_on_stderr(f"{error.problem}. Training goes on without it; its metrics stay in metrics.jsonl.")
        return None
