"""Nothing trains twice into one directory; what a killed process held is free at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows.services import sole_training as module
from flows.services.sole_training import sole_training
from p2p_core.errors import OutputError

HOLDS_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from flows.services.sole_training import sole_training
with sole_training(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_process_waits_then_refuses_and_follows_one_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = tmp_path / "run"
    first = subprocess.Popen([sys.executable, "-c", HOLDS_UNTIL_KILLED, str(run_dir)], stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
        with pytest.raises(OutputError, match="Another process trains into"), sole_training(run_dir):
            pass
    finally:
        first.kill()
        first.communicate()
    with sole_training(run_dir):
        pass


def test_an_error_of_the_training_itself_passes(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="disk is full"), sole_training(tmp_path):
        raise OutputError("The disk is full", remedy="Make room")
