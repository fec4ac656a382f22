"""One training a directory, whatever started it: a flow, the flow that resumes it, or a person."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2p_core.errors import OutputError
from p2p_core.files import locked, output_errors

__all__ = ["sole_training"]

_LOCK = ".lock"
_POLL_S = 0.2
# The training process of a killed flow may still be ending; its leash gives it 5 s.
_PATIENCE_S = 30.0


@contextmanager
def sole_training(run_dir: Path) -> Iterator[None]:
    """Hold `run_dir` for this process, until it ends in whatever way.

    Raises:
        OutputError: another process still trains there after 30 s, or the directory cannot be written.
    """
    busy = OutputError(f"Another process trains into {run_dir}", remedy="Wait until it is done, or choose another directory")
    with output_errors(run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            with locked(run_dir / _LOCK, busy=busy):
                yield
            return
        except OutputError as error:
            if error is not busy or time.monotonic() > deadline_s:
                raise
        time.sleep(_POLL_S)
