"""The server of one run keeps an honest record, also of a run that was killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.services.prefect_server import prefect_server
from p2p_core.errors import OutputError

RUNS_UNTIL_KILLED = """
import sys, time
from pathlib import Path
from prefect import flow, task
from flows.services.prefect_server import prefect_server
from flows.wiring import hush_prefect

@task
def wait():
    time.sleep(3)  # the recorder writes task runs in batches
    print("working", flush=True)
    time.sleep(600)

@flow(name="killed")
def killed():
    wait()

hush_prefect()
with prefect_server(Path(sys.argv[1])):
    killed()
"""


def test_a_killed_run_is_recorded_as_crashed_at_the_next_start_and_a_living_one_is_left_alone(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", RUNS_UNTIL_KILLED, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"working\n"
        with pytest.raises(OutputError, match="Another process records its run"), prefect_server(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()
    with prefect_server(tmp_path), get_client(sync_client=True) as client:
        runs, tasks = client.read_flow_runs(), client.read_task_runs()
        assert [run.state_name for run in runs] == ["Crashed"]
        assert runs[0].state.message.startswith("Its process was killed")
        assert [task.state_name for task in tasks] == ["Crashed"]
