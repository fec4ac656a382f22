"""The metrics of a training in MLflow: those of `metrics.jsonl`, each once.

That file is the spool: it is written whatever the server does, is as long as the run's log and no longer, and a resumed run
cuts it back to its checkpoint. MLflow forgets no single metric, so what the server has of the steps that are then taken again
must not be sent a second time. Whoever is not sure what the server has asks it: at the start, and after every refusal. On a
CPU the same step has the same values, so the history is that of a run nothing happened to, but for the rate, a clock's.

Sending only what a checkpoint covers would need no question, but a run would be watched a whole interval late.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric

__all__ = ["MetricFeed"]

_MAX_METRICS = 1000  # MLflow's own limit for one log_batch call
_READ_BYTES = 1 << 18
_NOT_METRICS = {"images_seen", "time_s"}


class MetricFeed:
    """From one `metrics.jsonl` to one run, a part of the file at a time."""

    def __init__(self, path: Path, client: MlflowClient, run_id: str) -> None:
        self._path, self._client, self._run_id = path, client, run_id
        self._offset = 0
        self._steps: dict[str, set[int]] = {}

    def send_some(self) -> bool:
        """Send, of the next part of the file, what the run has not; False at the end of the file.

        Raises what MLflow raises. What the run has is not known then any more: make a new feed.
        """
        part = _whole_lines(self._path, self._offset)
        missing = [metric for metric in _metrics(part) if metric.step not in self._steps_of(metric.key)]
        for start in range(0, len(missing), _MAX_METRICS):
            # Sent with the time of the file: should an answer be lost, MLflow takes the same metric again for the same.
            self._client.log_batch(self._run_id, metrics=missing[start : start + _MAX_METRICS])
        self._offset += len(part)
        return bool(part)

    def _steps_of(self, key: str) -> set[int]:
        """Of what the run had of this metric before this feed."""
        if key not in self._steps:
            self._steps[key] = {metric.step for metric in self._client.get_metric_history(self._run_id, key)}
        return self._steps[key]


def _whole_lines(path: Path, offset: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        part = file.read(_READ_BYTES)
    return part[: part.rfind(b"\n") + 1]


def _metrics(lines: bytes) -> list[Metric]:
    records = [json.loads(line) for line in lines.splitlines()]
    return [
        Metric(key, float(value), round(1000 * record.get("time_s", time.time())), int(record["images_seen"]))
        for record in records
        for key, value in record.items()
        if key not in _NOT_METRICS
    ]
