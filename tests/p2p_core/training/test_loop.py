"""A run does what its configuration says, resumes exactly, and stops with a message when it cannot go on."""

from __future__ import annotations

import multiprocessing
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from p2p_core.config import replace
from p2p_core.errors import CheckpointError, ConfigError, DivergenceError, StoreError, UsageError
from p2p_core.inference.bundle import load_bundle
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.loop import train
from p2p_core.training.result import TrainingResult
from p2p_core.training.step import make_state, training_step
from p2p_core.training.tracker import JsonLinesTracker, Trackers, read_metrics
from tests.p2p_core.training.conftest import KillAt, Silent

CONFIG = RunConfig(
    recipe="small",
    generator=UNetConfig(depth=3, base_width=8),
    discriminator=PatchGANConfig(num_layers=1, base_width=8),
    optimiser=OptimiserConfig(decay_from=0.5),
    augment=AugmentConfig(crop_px=64),
    batch_size=2,
    budget_images=48,
    validate_every_images=24,
    checkpoint_every_images=8,
    log_every_images=8,
    ema_images=16,
    oversample_rare=3,
)


def run(config: RunConfig, store: Path, run_dir: Path, *, resume: bool = False, kill_at: int | None = None) -> TrainingResult:
    torch.set_num_threads(1)
    checkpoint = latest_checkpoint(run_dir / "checkpoints") if resume else None
    tracker = JsonLinesTracker(run_dir, resume_from=int(checkpoint.name) if checkpoint else 0)
    progress = KillAt(kill_at) if kill_at else Silent()
    try:
        return train(config, store, run_dir, tracker=tracker, progress=progress, resume=resume, device="cpu")
    finally:
        tracker.close()


@pytest.fixture(scope="module")
def trained(pair_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("run")
    run(CONFIG, pair_store, run_dir)
    return run_dir


def test_a_run_leaves_bundle_sheets_metrics_checkpoints_and_result(trained: Path) -> None:
    result = TrainingResult.model_validate_json((trained / "result.json").read_text())
    assert result.images_seen == 48
    bundle = load_bundle(result.bundle)
    assert bundle.digest == result.bundle_digest
    assert bundle.spec.images_seen == 48
    assert {"frozen_l1", "instance_l1"} <= set(bundle.spec.metrics)
    assert [path.name for path in sorted((trained / "sheets").iterdir())] == ["00000024.png", "00000048.png"]
    assert [m["images_seen"] for m in read_metrics(trained / "metrics.jsonl") if "generator_l1" in m] == [8, 16, 24, 32, 40, 48]


def test_a_killed_run_resumes_to_identical_bytes(pair_store: Path, trained: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=run, args=(CONFIG, pair_store, tmp_path), kwargs={"kill_at": 32})
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    resumed = run(CONFIG, pair_store, tmp_path, resume=True)
    assert 0 < resumed.resumed_from < 48
    for name in ("weights.safetensors", "gate_pairs.safetensors", "model.json"):
        assert (tmp_path / "bundle" / name).read_bytes() == (trained / "bundle" / name).read_bytes(), name
    last = "checkpoints/0000000048/state.safetensors"
    assert (tmp_path / last).read_bytes() == (trained / last).read_bytes()
    seen = [m["images_seen"] for m in read_metrics(tmp_path / "metrics.jsonl") if "generator_l1" in m]
    assert seen == [8, 16, 24, 32, 40, 48]


class StoppedError(Exception):
    pass


class StopAt:
    def __init__(self, images: int) -> None:
        self.images = images

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        if done >= self.images:
            raise StoppedError


def test_a_run_that_averages_nothing_stores_no_averages_and_resumes_all_the_same(pair_store: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, ema_images=0, budget_images=24)
    run(config, pair_store, tmp_path / "whole")
    with pytest.raises(StoppedError):
        train(config, pair_store, tmp_path / "cut", tracker=Trackers([]), progress=StopAt(16), device="cpu")
    resumed = run(config, pair_store, tmp_path / "cut", resume=True)
    assert resumed.resumed_from == 8
    last = "checkpoints/0000000024/state.safetensors"
    state = (tmp_path / "whole" / last).read_bytes()
    assert state == (tmp_path / "cut" / last).read_bytes()
    names = load(state).keys()
    assert any(name.startswith("generator.") for name in names)
    assert not any(name.startswith("averaged.") for name in names)


def test_progress_hears_where_the_run_begins(pair_store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        train(CONFIG, pair_store, tmp_path, tracker=Trackers([]), progress=StopAt(0), device="cpu")
    assert not (tmp_path / "metrics.jsonl").exists()
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_compiling_without_a_compiler_is_an_error_that_says_so(pair_store: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"compile=true needs a C\+\+ compiler"):
        run(replace(CONFIG, compile=True), pair_store, tmp_path)


@pytest.mark.stress
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler on this machine")
def test_a_compiled_run_learns_what_an_eager_one_does(pair_store: Path, tmp_path: Path) -> None:
    plain = run(CONFIG, pair_store, tmp_path / "plain").metrics
    compiled = run(replace(CONFIG, compile=True), pair_store, tmp_path / "compiled").metrics
    assert compiled["frozen_l1"] == pytest.approx(plain["frozen_l1"], rel=0.02)


def test_training_lowers_l1_far_below_the_start(pair_store: Path, tmp_path: Path) -> None:
    config = replace(
        CONFIG, budget_images=1200, validate_every_images=0, checkpoint_every_images=0, ema_images=0, batch_size=4,
        optimiser=OptimiserConfig(learning_rate=2e-3),
    )  # fmt: skip
    result = run(config, pair_store, tmp_path)
    losses = [m["generator_l1"] for m in read_metrics(tmp_path / "metrics.jsonl") if "generator_l1" in m]
    assert losses[-1] < losses[0] / 3
    assert result.metrics["frozen_l1"] < 25


def test_resuming_with_another_configuration_is_refused_by_name(pair_store: Path, trained: Path) -> None:
    with pytest.raises(CheckpointError, match="seed"):
        run(replace(CONFIG, seed=1), pair_store, trained, resume=True)


def test_a_truncated_checkpoint_is_refused_and_named(pair_store: Path, tmp_path: Path) -> None:
    run(CONFIG, pair_store, tmp_path)
    newest = latest_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    state = newest / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged"):
        run(CONFIG, pair_store, tmp_path, resume=True)


def test_a_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "0000000010").mkdir()
    (tmp_path / "0000000010" / "checkpoint.json").write_text("{}")
    (tmp_path / "0000000020").mkdir()
    assert latest_checkpoint(tmp_path) == tmp_path / "0000000010"


def test_a_store_whose_bands_do_not_fit_is_refused(pair_store: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, generator=UNetConfig(depth=3, base_width=8, input_bands=1))
    with pytest.raises(ConfigError, match=r"pairs rgb with rgb, .* has generator\.input_bands 1"):
        run(config, pair_store, tmp_path)


def test_a_crop_larger_than_the_tiles_is_refused(pair_store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="72x72"):
        run(replace(CONFIG, augment=AugmentConfig(crop_px=80)), pair_store, tmp_path)


def test_divergence_is_an_error_that_keeps_the_checkpoints(pair_store: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, optimiser=OptimiserConfig(learning_rate=5e9, warm_up_images=1000), checkpoint_every_images=2)
    with pytest.raises(DivergenceError, match=r"is not a number .* are intact, the last of \d+ images; lower"):
        run(config, pair_store, tmp_path)
    newest = latest_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    weights = load((newest / "state.safetensors").read_bytes())
    assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_same_seed_same_weights_and_another_seed_others(pair_store: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, budget_images=8, validate_every_images=0)
    digests = [
        (run(replace(config, seed=seed), pair_store, tmp_path / str(k)).bundle / "weights.safetensors").read_bytes()
        for k, seed in enumerate((3, 3, 4))
    ]
    assert digests[0] == digests[1] != digests[2]


def test_elapsed_time_is_real(trained: Path) -> None:
    result = TrainingResult.model_validate_json((trained / "result.json").read_text())
    assert 0 < result.elapsed_s < time.monotonic()
    assert np.isfinite(list(result.metrics.values())).all()


def test_gradients_are_scaled_down_to_the_norm_that_is_asked_for() -> None:
    config = replace(CONFIG, ema_images=0, optimiser=OptimiserConfig(max_gradient_norm=1e-3))
    state = make_state(config, torch.device("cpu"))
    images = torch.randn(2, 2, 3, 64, 64).clamp(-1, 1)
    training_step(state, config, Batch(images[0], images[1], 2))
    assert state.adversary is not None
    norms = [
        float(torch.nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None]))
        for network in (state.generator, state.adversary.discriminator)
    ]
    assert norms == pytest.approx([1e-3, 1e-3], rel=0.01)
