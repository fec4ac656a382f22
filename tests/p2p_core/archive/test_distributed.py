"""The same bytes from one process and from two, in any order, through deaths of workers and of the whole client."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from flows.services.cluster import DaskExecutor, dask_executor
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.ledger import BlockFailure, BlockRecord
from p2p_core.archive.plan import Block
from p2p_core.archive.status import output_status
from p2p_core.archive.translate import TranslateBlock, translate_archive
from p2p_core.archive.verify import verify_output

JobFactory = Callable[..., ArchiveJob]
Digests = Callable[[Path], dict[str, str]]


@pytest.fixture(scope="module")
def executor() -> Iterator[DaskExecutor]:
    with dask_executor(num_workers=2) as executor:
        yield executor


@pytest.fixture(scope="module")
def serial_digests(
    tmp_path_factory: pytest.TempPathFactory,
    bundle_path: Path,
    scene_HWC: NDArray[np.uint8],
    write_scene: Callable[..., Path],
    shard_digests: Digests,
) -> dict[str, str]:
    """Every shard file of an undisturbed run in one process."""
    folder = tmp_path_factory.mktemp("serial")
    source = write_scene(folder / "scene.tif", scene_HWC)
    job = ArchiveJob(source=source, output=folder / "out", bundle=bundle_path, core_px=64, shard_px=64, chunk_px=32)
    assert translate_archive(job).complete
    return shard_digests(job.output)


def worker_pids(executor: DaskExecutor) -> list[int]:
    def pid_after_a_while(_: int) -> int:
        time.sleep(0.1)
        return os.getpid()

    return sorted(set(executor.map(pid_after_a_while, range(4))))


class KillsAWorker:
    """Progress that kills one worker when some blocks are done."""

    def __init__(self, pid: int, after: int) -> None:
        self._pid, self._after = pid, after
        self.killed_at: int | None = None

    def update(self, done: int, *_: str) -> None:
        if done >= self._after and self.killed_at is None:
            os.kill(self._pid, signal.SIGKILL)
            self.killed_at = done


def test_two_processes_make_the_same_bytes_as_one_and_import_no_tracking(
    make_job: JobFactory, executor: DaskExecutor, serial_digests: dict[str, str], shard_digests: Digests
) -> None:
    job = make_job("parallel")
    summary = translate_archive(job, executor)
    assert summary.complete
    assert summary.num_forwards == len(serial_digests) == 20
    assert shard_digests(job.output) == serial_digests

    def loaded(_: int) -> list[str]:
        return [name for name in ("torch", "mlflow", "prefect") if name in sys.modules]

    assert set(map(tuple, executor.map(loaded, range(8)))) == {("torch",)}


def test_a_worker_killed_midway_changes_no_byte(
    make_job: JobFactory, executor: DaskExecutor, serial_digests: dict[str, str], shard_digests: Digests
) -> None:
    assert len(serial_digests) >= 16
    pids = worker_pids(executor)
    assert len(pids) == 2
    killer = KillsAWorker(pids[0], after=6)
    job = make_job("killed")
    summary = translate_archive(job, executor, killer)
    assert killer.killed_at is not None
    assert killer.killed_at < 20
    assert not psutil.pid_exists(pids[0])
    assert summary.complete
    assert shard_digests(job.output) == serial_digests
    assert verify_output(job.output) == []


@pytest.mark.usefixtures("by_value")
def test_a_block_that_kills_its_workers_is_recorded_and_only_it_is_tried_again(
    make_job: JobFactory,
    executor: DaskExecutor,
    serial_digests: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    shard_digests: Digests,
) -> None:
    assert executor.own_cluster is not None
    monkeypatch.setattr(executor.own_cluster.scheduler, "allowed_failures", 0)  # one death is quicker than three
    job = make_job("deadly")
    summary = translate_archive(job, WithDeadlyBlock(executor))
    assert (summary.complete, summary.num_done) == (False, 19)
    (failure,) = summary.failures
    assert failure.reason.startswith("block 1_1")
    assert "1 workers died on it" in failure.reason
    assert output_status(job.output).failed == 1
    again = translate_archive(job, executor)
    assert (again.complete, again.num_forwards, again.failures) == (True, 1, [])
    assert shard_digests(job.output) == serial_digests


@dataclass(frozen=True)
class DeadlyBlock(TranslateBlock):
    """The real work, but block 1_1 takes more memory than there is."""

    def __call__(self, block: Block) -> BlockRecord | BlockFailure:
        if block.key == "1_1":
            os._exit(137)
        return super().__call__(block)


class WithDeadlyBlock:
    def __init__(self, executor: DaskExecutor) -> None:
        self._executor = executor

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        assert isinstance(function, TranslateBlock)
        return self._executor.map(DeadlyBlock(function.job, function.output), items)


@pytest.fixture
def by_value() -> Iterator[None]:
    """Send this module's classes to workers by value: they cannot import it."""
    import cloudpickle

    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


CLIENT = """
import sys
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.translate import translate_archive
from flows.services.cluster import dask_executor

if __name__ == "__main__":
    with dask_executor(num_workers=2) as executor:
        translate_archive(ArchiveJob.model_validate_json(sys.argv[1]), executor)
"""


def test_a_client_killed_midway_is_resumed_with_only_the_missing_blocks(
    make_job: JobFactory, tmp_path: Path, serial_digests: dict[str, str], shard_digests: Digests
) -> None:
    job = make_job("resumed")
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    with subprocess.Popen([sys.executable, str(script), job.model_dump_json()], stderr=subprocess.DEVNULL) as client:
        blocks = job.output / "ledger" / "blocks"
        deadline_s = time.monotonic() + 120
        while not (blocks.is_dir() and len(list(blocks.glob("*.json"))) >= 4):
            assert client.poll() is None, "the client ended before it could be killed"
            assert time.monotonic() < deadline_s
            time.sleep(0.005)
        workers = psutil.Process(client.pid).children(recursive=True)
        client.kill()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "workers end with their client"
    num_done = output_status(job.output).done
    assert 4 <= num_done < 20
    assert not (job.output / "summary.json").exists()
    summary = translate_archive(job)
    assert summary.complete
    assert (summary.num_reused, summary.num_forwards) == (num_done, 20 - num_done)
    assert shard_digests(job.output) == serial_digests
    assert not list(job.output.rglob("*.partial"))
