"""A child on a leash ends with its parent, however the parent ends, and takes its own children along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.services.leash import start_on_leash, stop_process

CHILD = """
import os, signal, subprocess, sys, time
from pathlib import Path
from flows.services.leash import wear_leash
if __name__ == "__main__":
    wear_leash()
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdin=subprocess.DEVNULL)
    pids = Path(sys.argv[1])
    if len(sys.argv) > 2:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pids.with_suffix(".tmp").write_text(f"{os.getpid()} {grandchild.pid}")
    pids.with_suffix(".tmp").rename(pids)
    time.sleep(60)
"""
PARENT = """
import sys, time
from flows.services.leash import start_on_leash
start_on_leash("leashed_child", sys.argv[1:])
time.sleep(60)
"""


@pytest.fixture
def pids_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "leashed_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = tmp_path / "pids"
    yield path
    for pid in read_pids(path) if path.exists() else []:
        if is_running(pid):
            os.kill(pid, signal.SIGKILL)


def read_pids(path: Path) -> list[int]:
    return [int(pid) for pid in path.read_text().split()]


def is_running(pid: int) -> bool:
    """A zombie that nobody has waited for yet does not run."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.05)


def test_a_killed_parent_takes_child_and_grandchild_along(pids_file: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(pids_file)])
    wait_until(pids_file.exists, "the child came up")
    assert all(is_running(pid) for pid in read_pids(pids_file))
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(is_running(pid) for pid in read_pids(pids_file)), "both are gone")


def test_a_child_that_ignores_the_request_is_stopped_by_force(pids_file: Path) -> None:
    child = start_on_leash("leashed_child", [str(pids_file), "stubborn"])
    wait_until(pids_file.exists, "the child came up")
    stop_process(child, grace_s=0.5)
    stop_process(child)  # again does no harm
    wait_until(lambda: not any(is_running(pid) for pid in read_pids(pids_file)), "both are gone")
