"""Spread work over processes with Dask: a cluster of this machine's own, or one that is reached by its address.

The only module that knows `distributed`. Libraries take any executor with `map(function, items)`; this is one.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from distributed import Client, Future, LocalCluster
from distributed.client import FutureCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from p2p_core.errors import ServiceError, UsageError

__all__ = ["CopesWithLoss", "DaskExecutor", "dask_executor"]

ALLOWED_DEATHS = 2
"""Worker deaths that one item survives on a cluster of our own; at the next its item is given up."""

_CONNECT_TIMEOUT_S = 15.0
_FIRST_WORKER_TIMEOUT_S = 60.0
_NO_WORKERS_TIMEOUT_S = 60.0
_POLL_S = 5.0
_UNREACHABLE = (OSError, TimeoutError, CommClosedError)


@runtime_checkable
class CopesWithLoss(Protocol):
    """A function that can name the result of an item whose workers kept dying on it."""

    def lost(self, item: Any, reason: str) -> Any: ...


class DaskExecutor:
    """`map` over the workers of a Dask cluster. Work that was lost with a worker is done again elsewhere.

    Args:
        client: connected to the cluster.
        own_cluster: the cluster behind it, if it is ours to keep in shape.
        num_workers: how many workers that should have.
    """

    def __init__(self, client: Client, own_cluster: LocalCluster | None = None, num_workers: int = 0) -> None:
        self._client = client
        self.own_cluster = own_cluster
        self._num_workers = num_workers

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        """Results as they come, in any order. Items are taken one by one, one for each worker thread at a time, so the
        scheduler's memory does not grow with their number and a worker's death casts suspicion on no other item.

        Where an item's workers keep dying, the result is `function.lost(item, reason)` if there is such a method.

        Raises:
            ServiceError: the cluster went away, or an item was given up and `function` cannot cope with that.
            Exception: whatever `function` raised, for the first item that did; the rest is cancelled.
        """
        waiting = iter(items)
        finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        running: dict[str, tuple[Future, Any]] = {}
        try:
            self._submit(function, waiting, running, finished)
            while running:
                future, item = running.pop(self._next(finished).key)
                self._submit(function, waiting, running, finished)
                yield _result(function, item, future)
        finally:
            if running and self._client.status == "running":
                self._client.cancel([future for future, _ in running.values()])

    def _submit(
        self,
        function: Callable[[Any], Any],
        waiting: Iterator[Any],
        running: dict[str, tuple[Future, Any]],
        finished: queue.SimpleQueue[Future],
    ) -> None:
        """Keep every worker thread busy, and no item queueing behind another."""
        num_threads = max(1, self._num_threads())
        while len(running) < num_threads:
            try:
                item = next(waiting)
            except StopIteration:
                return
            future = self._client.submit(function, item, pure=False)
            running[future.key] = (future, item)
            future.add_done_callback(finished.put)

    def _next(self, finished: queue.SimpleQueue[Future]) -> Future:
        """The next future that is done, however long it takes while there are workers."""
        last_seen_s = time.monotonic()
        while True:
            try:
                return finished.get(timeout=_POLL_S)
            except queue.Empty:
                now_s = time.monotonic()
                if self._num_threads():
                    last_seen_s = now_s
                elif now_s - last_seen_s > _NO_WORKERS_TIMEOUT_S:
                    raise ServiceError(
                        f"The Dask cluster has had no worker for {_NO_WORKERS_TIMEOUT_S:.0f} s",
                        remedy="Start workers, then run again; what was done is kept",
                    ) from None

    def _num_threads(self) -> int:
        try:
            num_threads = sum(self._client.nthreads().values())
        except _UNREACHABLE:
            return 0
        if self.own_cluster is not None and num_threads < self._num_workers:
            # A nanny whose worker dies while it starts gives up for good; the cluster replaces it only when told to.
            self.own_cluster.scale(self._num_workers)
        return int(num_threads)


def _result(function: Any, item: Any, future: Future) -> Any:
    try:
        return future.result()
    except KilledWorker as error:
        reason = f"it was given up after {error.allowed_failures + 1} workers died on it"
        if isinstance(function, CopesWithLoss):
            return function.lost(item, reason)
        raise ServiceError(
            f"{item}: {reason}", remedy="Look at the workers' memory and logs, or start fewer workers, then run again"
        ) from error
    except (FutureCancelledError, CommClosedError) as error:
        raise ServiceError(
            "The Dask scheduler went away during the run", remedy="Start it, then run again; what was done is kept"
        ) from error
    finally:
        # An error's traceback keeps its future alive, and what is alive is computed anew whenever its worker dies.
        future.release()


@contextmanager
def dask_executor(num_workers: int = 2, scheduler: str | None = None) -> Iterator[DaskExecutor]:
    """An executor over `num_workers` processes of this machine with one thread each, closed at the end; or over the
    workers of a cluster that is there already.

    Args:
        scheduler: `tcp://host:8786` of a running scheduler; then `num_workers` means nothing.

    Raises:
        UsageError: fewer than one worker.
        ServiceError: no scheduler answers there, or it has no workers.
    """
    if scheduler == "":
        raise UsageError("The address of the Dask scheduler is empty", remedy="Write tcp://host:8786, or leave it out")
    if scheduler is None and num_workers < 1:
        raise UsageError(f"{num_workers} workers can do no work", remedy="Give at least 1 worker")
    with _quiet(), _attached(scheduler) if scheduler else _local(num_workers) as executor:
        yield executor


@contextmanager
def _quiet() -> Iterator[None]:
    """Deaths, restarts and lost connections are told as errors of ours, not as tracebacks in a log.

    `distributed` gives many of its loggers a level and a handler of their own: setting the parent's does nothing.
    """
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """A local cluster leaves OMP_NUM_THREADS=1 and its like in this process: whatever starts next would run on one core."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _children_ignore_interrupts() -> Iterator[None]:
    """Ctrl-C reaches every process of the terminal. Workers are closed by this one; their tracebacks tell nobody anything."""
    if threading.current_thread() is not threading.main_thread():  # only there can signals be set
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _local(num_workers: int) -> Iterator[DaskExecutor]:
    with _environment_kept(), tempfile.TemporaryDirectory(prefix="p2p-dask-") as scratch:
        try:
            with _children_ignore_interrupts():
                cluster = LocalCluster(
                    n_workers=num_workers,
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address="127.0.0.1:0",  # it has an HTTP server all the same, which would want port 8787
                    local_directory=scratch,
                    silence_logs=logging.CRITICAL,  # in the worker processes
                    scheduler_kwargs={"allowed_failures": ALLOWED_DEATHS},
                )
        except (*_UNREACHABLE, RuntimeError) as error:  # RuntimeError: a worker process did not come up
            raise ServiceError(
                f"A local Dask cluster could not be started: {error}", remedy="Free memory or ports, or start fewer workers"
            ) from error
        with cluster, Client(cluster, set_as_default=False) as client:
            yield DaskExecutor(client, cluster, num_workers)


@contextmanager
def _attached(address: str) -> Iterator[DaskExecutor]:
    try:
        client = Client(address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)
    except (*_UNREACHABLE, ValueError) as error:  # ValueError: not an address
        raise ServiceError(
            f"No Dask scheduler answers at {address}", remedy="Start one with `dask scheduler`, or give the right address"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER_TIMEOUT_S)
        except _UNREACHABLE as error:
            raise ServiceError(
                f"The Dask scheduler at {address} has no workers", remedy=f"Start some with `dask worker {address}`"
            ) from error
        yield DaskExecutor(client)
