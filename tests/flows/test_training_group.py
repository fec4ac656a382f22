"""Training in several processes: they end together, whichever of them or of those who started them ends first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.services.launcher import TrainingProcessError, launch_training
from flows.services.training_protocol import TrainingRequest
from p2p_core.errors import ConfigError
from p2p_core.files import write_json
from p2p_core.inference.bundle import verify_bundle
from p2p_core.progress import Progress

SETTINGS = (
    "generator.depth=2",
    "generator.base_width=4",
    "discriminator.base_width=4",
    "augment.resize_px=null",
    "augment.crop_px=32",
    "batch_size=4",
    "log_every_images=4",
    "checkpoint_every_images=8",
    "validate_every_images=8",
)
LAUNCHER = """
import sys
from pathlib import Path
from flows.services.launcher import launch_training
from flows.services.training_protocol import TrainingRequest
launch_training(TrainingRequest.model_validate_json(Path(sys.argv[1]).read_text()))
"""


def group_below(parent: psutil.Process) -> tuple[psutil.Process, list[psutil.Process]]:
    """torchrun and the training processes that it started."""
    (agent,) = [child for child in parent.children() if "flows.services.training_group" in child.cmdline()]
    return agent, [child for child in agent.children() if "flows.services.training_process" in child.cmdline()]


class Watcher:
    """A `Progress` that does something to the group once so many images are seen."""

    def __init__(self, at_images: int, then: Callable[[psutil.Process, list[psutil.Process]], None]) -> None:
        self.at_images, self.then = at_images, then
        self.group: list[psutil.Process] = []

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        if not self.group and done >= self.at_images:
            agent, workers = group_below(psutil.Process())
            self.group = [agent, *workers]
            self.then(agent, workers)

    @contextmanager
    def start(self, budget_images: int) -> Iterator[Progress]:  # noqa: ARG002
        yield self


def all_end(processes: list[psutil.Process], timeout_s: float = 60.0) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes):
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def request_2(pair_store: Path, tmp_path: Path) -> TrainingRequest:
    return TrainingRequest(
        recipe="facades",
        data=pair_store,
        run_dir=tmp_path / "run",
        settings=SETTINGS,
        images=100_000,
        device="cpu",
        processes=2,
    )


def test_a_killed_process_ends_the_run_with_an_error_and_any_number_of_them_resumes_it(request_2: TrainingRequest) -> None:
    def kill_second(agent: psutil.Process, workers: list[psutil.Process]) -> None:  # noqa: ARG001
        assert len(workers) == 2
        next(worker for worker in workers if worker.environ()["RANK"] == "1").kill()

    request = request_2.model_copy(update={"images": 240})
    watcher = Watcher(20, kill_second)
    with pytest.raises(TrainingProcessError, match=r"Process 2 of the training's 2 was killed \(SIGKILL\).*--resume"):
        launch_training(request, progress_for=watcher.start)
    assert all_end(watcher.group)
    for processes in (2, 1):
        more = request.model_copy(update={"resume": True, "processes": processes})
        outcome = launch_training(more, progress_for=Watcher(1 << 40, kill_second).start)
        assert (outcome.images_seen, outcome.resumed_from >= 16, outcome.device) == (240, True, "cpu")
        assert verify_bundle(outcome.bundle) == []


def test_processes_end_with_a_killed_torchrun(request_2: TrainingRequest) -> None:
    watcher = Watcher(8, lambda agent, _: agent.kill())
    with pytest.raises(TrainingProcessError, match="was killed"):
        launch_training(request_2, progress_for=watcher.start)
    assert len(watcher.group) == 3
    assert all_end(watcher.group)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.stress)])
def test_processes_end_with_whoever_asked_for_the_training(request_2: TrainingRequest, number: int, tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    write_json(path, request_2.model_dump(mode="json"))
    with (tmp_path / "log").open("wb") as log:
        launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, str(path)], stderr=log)
    group: list[psutil.Process] = []
    try:
        deadline_s = time.monotonic() + 120
        while not any((request_2.run_dir / "checkpoints").glob("*/checkpoint.json")):
            assert time.monotonic() < deadline_s
            assert launcher.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.1)
        agent, workers = group_below(psutil.Process(launcher.pid))
        group = [agent, *workers]
        assert len(group) == 3
        launcher.send_signal(number)
        launcher.wait(60)
        assert all_end(group)
    finally:
        for process in [p for p in group if p.is_running()]:
            os.kill(process.pid, signal.SIGKILL)
        launcher.kill()
        launcher.wait()


def test_a_batch_that_cannot_be_shared_is_refused_with_one_that_can(request_2: TrainingRequest) -> None:
    settings = (*SETTINGS, "batch_size=1")
    with pytest.raises(ConfigError, match=r"batch of 1 pairs cannot be shared equally by 2 processes\. Use --set batch_size=2"):
        launch_training(request_2.model_copy(update={"settings": settings}))
    assert not request_2.run_dir.exists(), "nothing was begun"
