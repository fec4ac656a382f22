"""A real Prefect server for one run, on a free loopback port, that ends with it.

Prefect's own ephemeral server loses task rows when its process exits, so a run worth recording gets a real one. Its
database lies in a directory of the run's; `PREFECT_HOME=that-directory prefect server start` shows the runs again.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.services.leash import start_on_leash, stop_process, wear_leash
from p2p_core.errors import OutputError, ServiceError
from p2p_core.files import locked, output_errors

__all__ = ["prefect_server", "server_environment"]

_POLL_S = 0.2
# The recorder writes task rows in batches; leave it one flush before the server stops. Whole seconds: Prefect 3.8 cuts a
# fraction off, and an interval of 0 is a loop that takes a whole core.
_FLUSH_S = 1


def server_environment(home: Path) -> dict[str, str]:
    """The settings of a quiet server that keeps everything under `home`."""
    return {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "true",
        "PREFECT_UI_API_URL": "/api",  # its port is any free one; the pages would ask 4200
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": str(_FLUSH_S),
        "PREFECT__SERVER_FINAL": "1",
        "DO_NOT_TRACK": "1",
    }


@contextmanager
def prefect_server(home: Path, *, startup_timeout_s: float = 120.0) -> Iterator[str]:
    """Start a server, point this process at it, yield its API address, and stop it whatever happens.

    What an earlier server of `home` left unfinished, because it was killed, is recorded as crashed.

    Raises:
        ServiceError: the server ended or did not answer in time; the message names its log.
        OutputError: `home` cannot be written, or another process has a server there.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

    home = home.resolve()
    log_path = home / "server.log"
    with output_errors(home):
        home.mkdir(parents=True, exist_ok=True)
    busy = OutputError(
        f"Another process records its run in {home}", remedy="Wait until it is done, or choose another directory"
    )
    port = _free_port()
    api_url = f"http://127.0.0.1:{port}/api"
    with locked(home / ".lock", busy=busy), output_errors(home), log_path.open("wb") as log:
        process = start_on_leash(
            "flows.services.prefect_server", [str(port)], environment=server_environment(home), stdout=log, stderr=log
        )
        try:
            _wait_until_healthy(process, api_url, log_path, startup_timeout_s)
            with temporary_settings(updates={PREFECT_API_URL: api_url, PREFECT_HOME: home}):
                _record_crashes()
                try:
                    yield api_url
                finally:
                    _send_what_is_pending()
            time.sleep(2 * _FLUSH_S)
        finally:
            stop_process(process)


def _record_crashes() -> None:
    """A run that is not over at the start of its only server was killed with the one before, and could not say so."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import State, StateType
    from prefect.states import Crashed

    crashed: State[None] = Crashed(message="Its process was killed: it was not over when the next run began")
    unfinished = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING])
    with get_client(sync_client=True) as client:
        while runs := client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished))):
            for run in runs:
                for task_run in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))):
                    if task_run.state is None or not task_run.state.is_final():
                        client.set_task_run_state(task_run.id, crashed, force=True)
                client.set_flow_run_state(run.id, crashed, force=True)


def _send_what_is_pending() -> None:
    """Prefect sends logs and events from threads of its own, which would wait a minute for a server that is gone."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    with suppress(RuntimeError):  # nothing was ever logged
        APILogWorker.instance().drain()
    EventsWorker.drain_all()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_healthy(process: subprocess.Popen[bytes], api_url: str, log: Path, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise ServiceError(
                f"The Prefect server ended with code {process.returncode} before it was ready",
                remedy=f"Read {log}; often the disk is full, or versions do not fit (`pip install -c constraints.txt .`)",
            )
        try:
            with urllib.request.urlopen(f"{api_url}/health", timeout=5) as reply:
                if reply.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(_POLL_S)
    raise ServiceError(
        f"The Prefect server at {api_url} was not ready after {timeout_s:.0f} s",
        remedy=f"Read {log}, or point PREFECT_API_URL at a server that is running",
    )


def _main() -> None:
    wear_leash()
    import uvicorn

    uvicorn.run(
        "prefect.server.api.server:create_app",
        factory=True,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="error",
        lifespan="on",
    )


if __name__ == "__main__":
    _main()
