"""Where a run's numbers and pictures go. The default is a file a person can read and a script can parse."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from p2p_core.files import output_errors

__all__ = ["JsonLinesTracker", "Tracker", "Trackers", "read_metrics"]

Parameter = str | float | int | bool


class Tracker(Protocol):
    """Told what a run does. Never stops the run: a tracker that cannot deliver says so and goes on."""

    def log_parameters(self, parameters: Mapping[str, Parameter]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None: ...

    def log_picture(self, name: str, path: Path) -> None: ...

    def close(self) -> None: ...


class JsonLinesTracker:
    """`metrics.jsonl` in the run's directory, one line a measurement. A resumed run drops what came after it."""

    def __init__(self, run_dir: Path, resume_from: int = 0) -> None:
        self.path = run_dir / "metrics.jsonl"
        kept = [m for m in read_metrics(self.path) if m["images_seen"] <= resume_from]
        with output_errors(self.path):
            run_dir.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("w", buffering=1)
            self._file.writelines(json.dumps(m) + "\n" for m in kept)

    def log_parameters(self, parameters: Mapping[str, Parameter]) -> None:
        """Parameters are in the run's config.json already."""

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None:
        with output_errors(self.path):
            self._file.write(json.dumps({"images_seen": images_seen, **metrics}) + "\n")

    def log_picture(self, name: str, path: Path) -> None:
        """Pictures are in the run's directory already."""

    def close(self) -> None:
        self._file.close()


class Trackers:
    """Several trackers as one."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def log_parameters(self, parameters: Mapping[str, Parameter]) -> None:
        for tracker in self._trackers:
            tracker.log_parameters(parameters)

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None:
        for tracker in self._trackers:
            tracker.log_metrics(metrics, images_seen)

    def log_picture(self, name: str, path: Path) -> None:
        for tracker in self._trackers:
            tracker.log_picture(name, path)

    def close(self) -> None:
        for tracker in self._trackers:
            tracker.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a `metrics.jsonl`; none if there is no file. A last line cut short by a crash is left out."""
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
