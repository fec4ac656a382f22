"""Child processes that never outlive the process that started them.

The parent keeps the write end of the child's standard input open. When the parent ends, by whatever signal, the
operating system closes it, the child reads the end of file and stops itself and everything it started. No process id is
ever reused by mistake, nothing polls, and it works wherever pipes do.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

__all__ = ["lead_children", "start_on_leash", "stop_process", "wear_leash"]

_GRACE_S = 5.0


def start_on_leash(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
) -> subprocess.Popen[bytes]:
    """Run `python -m module arguments` in a process group of its own. The module's main calls `wear_leash()` first."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )


def wear_leash() -> None:
    """In the child: stop this process group when the parent's end of standard input closes."""
    # A duplicate, so that code which closes or replaces sys.stdin does not let go of the leash.
    leash = os.dup(0)
    threading.Thread(target=_stop_group_at_end_of, args=(leash,), name="leash", daemon=True).start()


def lead_children() -> None:
    """Children that this process starts from now on, by whatever means, may `wear_leash()`: standard input ends with it."""
    leash, _held = os.pipe()  # the end that is held is not inherited: it closes with this process, however that ends
    os.dup2(leash, 0)
    os.close(leash)


def _stop_group_at_end_of(leash: int) -> None:
    while os.read(leash, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGTERM)  # time to put things away
    time.sleep(_GRACE_S)
    os.killpg(os.getpgrp(), signal.SIGKILL)


def stop_process(process: subprocess.Popen[bytes], *, grace_s: float = _GRACE_S) -> None:
    """Ask the child and what it started to end, then end them by force. Returns when it is gone; safe to call twice."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(grace_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
