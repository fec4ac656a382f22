"""The Dask executor: every item's result, whatever happens to the workers.

Functions are nested: workers then get them by value and need not import this file.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows.services import cluster
from flows.services.cluster import DaskExecutor, dask_executor
from p2p_core.errors import RasterError, ServiceError, UsageError


@pytest.fixture(scope="module")
def executor() -> Iterator[DaskExecutor]:
    with dask_executor(num_workers=2) as executor:
        yield executor


def test_every_item_has_one_result_from_two_processes(executor: DaskExecutor) -> None:
    def square(number: int) -> tuple[int, int]:
        time.sleep(0.02)
        return number**2, os.getpid()

    results = list(executor.map(square, iter(range(30))))
    assert sorted(square for square, _ in results) == [number**2 for number in range(30)]
    assert len({pid for _, pid in results}) == 2
    assert os.getpid() not in {pid for _, pid in results}


def test_items_are_taken_as_workers_are_free(executor: DaskExecutor) -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = executor.map(lambda number: number, endless())
    assert {next(results) for _ in range(5)} <= set(range(8))
    assert len(taken) <= 8
    results.close()  # type: ignore[attr-defined]


def test_an_error_of_the_function_keeps_its_kind_and_remedy(executor: DaskExecutor) -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise RasterError("tile 3 is empty", remedy="Fetch it again", reason="empty")
        return number

    with pytest.raises(RasterError, match=r"tile 3 is empty\. Fetch it again\.") as caught:
        list(executor.map(fail, range(6)))
    assert caught.value.reason == "empty"
    assert sorted(executor.map(lambda number: number, range(3))) == [0, 1, 2], "the cluster is still usable"


def test_work_of_a_killed_worker_is_done_elsewhere(executor: DaskExecutor, tmp_path: Path) -> None:
    killed = tmp_path / "killed"

    def die_once(number: int) -> int:
        if number == 4 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert sorted(executor.map(die_once, range(10))) == list(range(10))
    assert killed.exists()


class Deadly:
    """Kills every worker that takes item 2."""

    def __call__(self, number: int) -> str:
        if number == 2:
            os._exit(1)
        return f"done {number}"


class DeadlyButPrepared(Deadly):
    def lost(self, item: Any, reason: str) -> str:
        return f"lost {item}: {reason}"


@pytest.mark.usefixtures("by_value")
def test_a_deadly_item_is_given_up_and_the_rest_goes_on(executor: DaskExecutor) -> None:
    results = sorted(executor.map(DeadlyButPrepared(), range(5)))
    deaths = cluster.ALLOWED_DEATHS + 1
    assert results == ["done 0", "done 1", "done 3", "done 4", f"lost 2: it was given up after {deaths} workers died on it"]


@pytest.mark.usefixtures("by_value")
def test_a_deadly_item_nobody_prepared_for_is_a_clear_error(executor: DaskExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    assert executor.own_cluster is not None
    monkeypatch.setattr(executor.own_cluster.scheduler, "allowed_failures", 0)  # one death is quicker than three
    with pytest.raises(ServiceError, match="2: it was given up after 1 workers died on it"):
        list(executor.map(Deadly(), range(5)))


@pytest.fixture
def by_value() -> Iterator[None]:
    """Send this module's classes to workers by value: they cannot import it."""
    import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


def test_no_workers_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="address of the Dask scheduler is empty"), dask_executor(scheduler=""):
        pass
    with pytest.raises(UsageError, match="0 workers"), dask_executor(num_workers=0):
        pass


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:{port}", "nonsense://x"])
def test_a_scheduler_that_does_not_answer_is_a_clear_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_CONNECT_TIMEOUT_S", 1.0)
    address = address.format(port=free_port())
    with pytest.raises(ServiceError, match="No Dask scheduler answers at"), dask_executor(scheduler=address):
        pass


@contextmanager
def running(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of somebody else's, ended with the test."""
    command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments, "--no-dashboard"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def a_worker(address: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running("dask_worker", address, "--nthreads", "1", "--no-nanny")


@pytest.fixture
def scheduler() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Its address and its process; it has no workers."""
    port = free_port()
    with running("dask_scheduler", "--host", "127.0.0.1", "--port", str(port)) as process:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"tcp://127.0.0.1:{port}", process


def test_a_cluster_of_somebody_elses_is_used_and_left_running(
    scheduler: tuple[str, subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, process = scheduler
    monkeypatch.setattr(cluster, "_FIRST_WORKER_TIMEOUT_S", 0.5)
    with pytest.raises(ServiceError, match=r"has no workers.*dask worker tcp"), dask_executor(scheduler=address):
        pass
    monkeypatch.undo()
    with a_worker(address) as worker:
        with dask_executor(scheduler=address) as executor:
            assert sorted(executor.map(lambda number: number + 1, range(5))) == [1, 2, 3, 4, 5]
        assert worker.poll() is None
        assert process.poll() is None


@pytest.mark.parametrize("lost", ["worker", "scheduler"])
def test_a_cluster_that_went_away_ends_the_run(
    scheduler: tuple[str, subprocess.Popen[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    lost: str,
) -> None:
    address, process = scheduler
    monkeypatch.setattr(cluster, "_CONNECT_TIMEOUT_S", 3.0)
    monkeypatch.setattr(cluster, "_NO_WORKERS_TIMEOUT_S", 1.0)
    monkeypatch.setattr(cluster, "_POLL_S", 0.2)
    with a_worker(address) as worker, dask_executor(scheduler=address) as executor:
        results = executor.map(time.sleep, [0, 60])
        next(results)
        (worker if lost == "worker" else process).kill()
        with pytest.raises(ServiceError, match=r"has had no worker for|scheduler went away"):
            next(results)
    assert capfd.readouterr().err == ""


def test_a_closed_cluster_leaves_the_environment_as_it_was() -> None:
    """OMP_NUM_THREADS=1, left behind, made the training that followed three times slower."""
    before = dict(os.environ)
    with dask_executor(num_workers=1) as executor:
        assert list(executor.map(abs, [-1])) == [1]
    assert dict(os.environ) == before
