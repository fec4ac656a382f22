"""Where a run's numbers and pictures go. The default is a file a person can read and a script can parse."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from p2p_core.files import output_errors, write_atomic

__all__ = ["JsonLinesTracker", "Parameter", "Tracker", "Trackers", "read_metrics"]

Parameter = str | float | int | bool


class Tracker(Protocol):
    """Told what a run does. Never stops the run: a tracker that cannot deliver says so and goes on."""

    def log_parameters(self, parameters: Mapping[str, Parameter]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None: ...

    def log_picture(self, name: str, path: Path) -> None: ...

    def close(self) -> None: ...


class JsonLinesTracker:
    """`metrics.jsonl` in the run's directory, one line a measurement, with the second since 1970 at which it was taken.

    A resumed run drops what came after its checkpoint, and makes it again: the file is that of a run nothing happened to.
    """

    def __init__(self, run_dir: Path, resume_from: int = 0) -> None:
        self.path = run_dir / "metrics.jsonl"
        kept = [m for m in read_metrics(self.path) if m["images_seen"] <= resume_from and not _is_final(m)]
        write_atomic(self.path, "".join(map(_line, kept)).encode())
        with output_errors(self.path):
            self._file = self.path.open("ab", buffering=0)

    def log_parameters(self, parameters: Mapping[str, Parameter]) -> None:
        """Parameters are in the run's config.json already."""

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None:
        line = _line({"images_seen": images_seen, "time_s": round(time.time(), 3), **metrics}).encode()
        with output_errors(self.path):
            if self._file.write(line) != len(line):  # the disk took the beginning; readers pass over it
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def log_picture(self, name: str, path: Path) -> None:
        """Pictures are in the run's directory already."""

    def close(self) -> None:
        self._file.close()


def _line(record: Mapping[str, float]) -> str:
    return json.dumps(record) + "\n"


def _is_final(record: Mapping[str, float]) -> bool:
    """Scores of the finished model: they come after every checkpoint, at the count of images of the last."""
    return any(name.startswith("final_") for name in record)


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
