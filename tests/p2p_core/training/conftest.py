"""Runs that are killed, and all that a run leaves, for comparison."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig
from p2p_core.training.loop import train
from p2p_core.training.result import TrainingResult
from p2p_core.training.tracker import JsonLinesTracker

# No interval is a multiple of another: checkpoints fall between lines of the log and between epochs.
CONFIG = RunConfig(
    recipe="small",
    generator=UNetConfig(depth=3, base_width=8),
    discriminator=PatchGANConfig(num_layers=1, base_width=8),
    optimiser=OptimiserConfig(decay_from=0.5, warm_up_images=20),
    augment=AugmentConfig(crop_px=64),
    batch_size=2,
    budget_images=64,
    validate_every_images=22,
    checkpoint_every_images=8,
    log_every_images=6,
    ema_images=16,
    oversample_rare=3,
)
_CLOCKS = {"time_s", "images_per_s"}
IN_THE_STATE, IN_THE_RECORD = 3, 4
"""Which file that a run writes among its checkpoints: each has two."""


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


class KillAt:
    """SIGKILLs its own process once so many images are seen."""

    def __init__(self, images: int) -> None:
        self.images = images

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        if done >= self.images:
            os.kill(os.getpid(), signal.SIGKILL)


class Tell:
    """Says by a file that steps have begun."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        self.path.touch()


def run(config: RunConfig, store: Path, run_dir: Path, *, resume: bool = False, progress: Any = None) -> TrainingResult:
    torch.set_num_threads(1)
    checkpoint = latest_checkpoint(run_dir / "checkpoints") if resume else None
    tracker = JsonLinesTracker(run_dir, resume_from=int(checkpoint.name) if checkpoint else 0)
    try:
        return train(config, store, run_dir, tracker=tracker, progress=progress or Silent(), resume=resume, device="cpu")
    finally:
        tracker.close()


def run_until_written(config: RunConfig, store: Path, run_dir: Path, file_number: int, *, resume: bool) -> None:
    """Train; with the bytes of so many files of checkpoints on disk, and the last not yet in its place, SIGKILL."""
    flush, written = os.fsync, 0

    def flush_or_die(fd: int) -> None:
        nonlocal written
        written += "/checkpoints/" in str(Path(f"/proc/self/fd/{fd}").readlink())
        if written == file_number:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(fd)

    os.fsync = flush_or_die
    run(config, store, run_dir, resume=resume)


def killed(target: Callable[..., object], *args: object, after_s: tuple[Path, float] | None = None, **kwargs: object) -> None:
    """Call it in a process of its own that is killed, by itself or, once a file is there, after some seconds."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=args, kwargs=kwargs)
    process.start()
    if after_s is not None:
        while not after_s[0].exists():
            assert process.is_alive()
            time.sleep(0.01)
        time.sleep(after_s[1])
        process.kill()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL or (after_s and process.exitcode == 0)  # a machine may become faster meanwhile


def traces(run_dir: Path) -> dict[str, bytes]:
    """All that a run leaves, but for clocks: weights, both optimisers, random state, sums not yet logged, sheets, metrics."""
    files = {str(path.relative_to(run_dir)): path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    result = json.loads(files.pop("result.json"))
    files["result"] = json.dumps([result["images_seen"], result["bundle_digest"], result["metrics"]]).encode()
    lines = [json.loads(line) for line in files.pop("metrics.jsonl").splitlines()]
    files["metrics"] = "\n".join(str({k: v for k, v in line.items() if k not in _CLOCKS}) for line in lines).encode()
    return files


def assert_same(run_dir: Path, other: Path) -> None:
    ours, theirs = traces(run_dir), traces(other)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.fixture(scope="module")
def whole(pair_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("whole")
    run(CONFIG, pair_store, run_dir)
    return run_dir


@pytest.fixture(scope="module")
def cut_once(pair_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("cut") / "run"
    killed(run, CONFIG, pair_store, run_dir, progress=KillAt(42))
    return run_dir


@pytest.fixture
def cut(cut_once: Path, tmp_path: Path) -> Path:
    """A copy of a run that was killed after 42 images; checkpoints of 32 and 40, and the best."""
    return Path(shutil.copytree(cut_once, tmp_path / "run"))
