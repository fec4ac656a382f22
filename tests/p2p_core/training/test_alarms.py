"""A run that goes wrong is told from one that does not, by its own numbers, and stopped if that was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load

from p2p_core.config import replace, with_settings
from p2p_core.errors import CollapseError, DivergenceError
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.training.alarms import COLLAPSED_VALIDATIONS, DIVERGED_VALIDATIONS, Alarm, Watch
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.loop import train
from p2p_core.training.result import TrainingResult
from p2p_core.training.step import make_state, training_step
from p2p_core.training.tracker import JsonLinesTracker, read_metrics

CONFIG = RunConfig(
    recipe="small",
    generator=UNetConfig(depth=3, base_width=8),
    discriminator=PatchGANConfig(num_layers=1, base_width=8),
    augment=AugmentConfig(crop_px=64),
    batch_size=2,
    budget_images=320,
    validate_every_images=40,
    checkpoint_every_images=40,
    log_every_images=8,
    alarms="stop",
)
ABSURD = replace(CONFIG, optimiser=OptimiserConfig(learning_rate=5.0))
LATE = replace(CONFIG, optimiser=OptimiserConfig(learning_rate=2.0, warm_up_images=8000))
"""Learns well, until its rate becomes absurd."""

MUTE = replace(
    CONFIG,
    generator=UNetConfig(depth=3, base_width=8, norm="none"),  # paints flat grey until it has learnt something
    discriminator=PatchGANConfig(num_layers=1, base_width=8, norm="none"),
    optimiser=OptimiserConfig(learning_rate=1e-9, discriminator_share=1e6),
)
"""A discriminator that learns, against a generator that cannot."""


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


def run(config: RunConfig, store: Path, run_dir: Path, *, resume: bool = False) -> TrainingResult:
    torch.set_num_threads(1)
    checkpoint = latest_checkpoint(run_dir / "checkpoints") if resume else None
    tracker = JsonLinesTracker(run_dir, resume_from=int(checkpoint.name) if checkpoint else 0)
    try:
        return train(config, store, run_dir, tracker=tracker, progress=Silent(), resume=resume, device="cpu")
    finally:
        tracker.close()


def logged(run_dir: Path, name: str) -> dict[int, float]:
    return {int(m["images_seen"]): m[name] for m in read_metrics(run_dir / "metrics.jsonl") if name in m}


@pytest.fixture(scope="module")
def healthy(pair_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("healthy")
    run(CONFIG, pair_store, run_dir)
    return run_dir


def test_a_healthy_run_hears_no_alarm_and_shows_what_it_is_watched_by(healthy: Path) -> None:
    metrics = read_metrics(healthy / "metrics.jsonl")
    assert not any(name.startswith("alarm") for m in metrics for name in m)
    for name in ("val_dropout_diversity", "val_checkerboard_ratio", "generator_gradient_norm", "discriminator_gradient_norm"):
        values = logged(healthy, name)
        assert len(values) == (8 if name.startswith("val") else 40)
        assert min(values.values()) > 0, name
    for name in ("discriminator_real", "discriminator_generated"):
        assert all(0 <= value <= 1 for value in logged(healthy, name).values())


def test_an_absurd_learning_rate_is_told_within_two_validations(pair_store: Path, tmp_path: Path) -> None:
    with pytest.raises(DivergenceError, match=r"divergence after 80 images: validation L1 is \d+\.\d grey levels, 2 times"):
        run(ABSURD, pair_store, tmp_path)
    assert logged(tmp_path, "alarm_divergence") == {80: 1.0}
    assert not (tmp_path / "result.json").exists()


def test_a_run_stopped_for_divergence_keeps_its_best_and_no_worse_than_the_last_good_checkpoint(
    pair_store: Path, tmp_path: Path
) -> None:
    with pytest.raises(DivergenceError) as stopped:
        run(LATE, pair_store, tmp_path)
    l1 = logged(tmp_path, "val_l1")
    best = min(l1, key=lambda images: l1[images])
    kept = sorted(int(path.name) for path in (tmp_path / "checkpoints").iterdir())
    assert best in kept
    assert max(l1[images] for images in kept) < 1.5 * l1[best]
    assert f"{kept[-1]:010d}, and {best:010d} beside it with the lowest validation L1" in str(stopped.value)
    for images in kept:
        weights = load((tmp_path / "checkpoints" / f"{images:010d}" / "state.safetensors").read_bytes())
        assert all(bool(torch.isfinite(value).all()) for value in weights.values())


def test_a_stopped_run_goes_on_where_it_is_told_only_to_warn(
    pair_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DivergenceError):
        run(LATE, pair_store, tmp_path)
    resumed = run(replace(LATE, alarms="warn"), pair_store, tmp_path, resume=True)
    assert (resumed.images_seen, resumed.resumed_from > 0) == (320, True)
    assert capsys.readouterr().err.count("Warning: Training shows divergence") == 1
    assert len(logged(tmp_path, "alarm_divergence")) == 1


def test_a_generator_that_paints_nothing_is_a_collapse(pair_store: Path, tmp_path: Path) -> None:
    with pytest.raises(
        CollapseError, match=r"the discriminator is right on \d+\.\d% of the patches and gradient energy is 0\.00\d"
    ):
        run(MUTE, pair_store, tmp_path)
    assert len(logged(tmp_path, "alarm_collapse")) == 1
    l1 = logged(tmp_path, "val_l1")
    assert (tmp_path / "checkpoints" / f"{min(l1, key=lambda images: l1[images]):010d}" / "checkpoint.json").exists()


def test_alarms_that_are_off_say_nothing(pair_store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = with_settings(replace(ABSURD, budget_images=120), ["alarms=off"])
    assert config.alarms == "off"
    run(config, pair_store, tmp_path)
    assert capsys.readouterr().err == ""
    assert logged(tmp_path, "alarm_divergence") == {}


def test_a_network_that_is_lost_is_never_checkpointed(pair_store: Path, tmp_path: Path) -> None:
    """Losses are looked at now and then; what is kept is looked at each time."""
    config = replace(
        CONFIG, optimiser=OptimiserConfig(learning_rate=1e30), log_every_images=400, validate_every_images=0, alarms="off",
        checkpoint_every_images=20,
    )  # fmt: skip
    with pytest.raises(DivergenceError, match=r"generator\.\S+ is not a number after 20 images"):
        run(config, pair_store, tmp_path)
    assert latest_checkpoint(tmp_path / "checkpoints") is None


def test_watching_changes_nothing_that_is_learned(pair_store: Path, healthy: Path, tmp_path: Path) -> None:
    """Dropout is drawn at every validation, and the run's own random numbers stay what they were."""
    run(replace(CONFIG, validate_every_images=0, alarms="off"), pair_store, tmp_path)
    state = "checkpoints/0000000320/state.safetensors"
    assert (tmp_path / state).read_bytes() == (healthy / state).read_bytes()


def test_a_network_without_dropout_has_no_diversity_to_speak_of(pair_store: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, generator=UNetConfig(depth=3, base_width=8, dropout=0), budget_images=40)
    run(config, pair_store, tmp_path)
    assert logged(tmp_path, "val_l1")
    assert logged(tmp_path, "val_dropout_diversity") == {}


@pytest.mark.parametrize("limit", [0.0, 1e-3])
def test_gradient_norms_are_those_before_any_scaling_down(limit: float) -> None:
    def step(max_gradient_norm: float) -> tuple[dict[str, torch.Tensor], list[torch.Tensor]]:
        config = replace(CONFIG, optimiser=OptimiserConfig(max_gradient_norm=max_gradient_norm))
        state = make_state(config, torch.device("cpu"))
        images = torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
        told = training_step(state, config, Batch(images[0], images[1], 2))
        return told, [p.grad for p in state.generator.parameters() if p.grad is not None]

    _, gradients = step(0.0)
    norm = float(torch.cat([gradient.flatten() for gradient in gradients]).norm())
    assert norm > 0.1
    assert float(step(limit)[0]["generator_gradient_norm"]) == pytest.approx(norm, rel=1e-4)


def seen(watch: Watch, l1: list[float], **others: float) -> list[Alarm | None]:
    return [watch.see({"val_l1": value, **others}, images_seen=k) for k, value in enumerate(l1)]


def kinds(alarms: list[Alarm | None]) -> list[str]:
    return [alarm.kind for alarm in alarms if alarm]


def test_one_bad_validation_is_chance_and_an_alarm_sounds_once_each_time() -> None:
    watch = Watch(start_l1=60, affine_l1=20)
    assert kinds(seen(watch, [50, 30, 200, 30, 25, 200])) == []
    assert kinds(seen(watch, [200, 200, 200])) == ["divergence"]
    assert kinds(seen(watch, [22] + [200] * DIVERGED_VALIDATIONS)) == ["divergence"]
    assert watch.best_l1 == 22


def test_far_above_is_far_above_the_best_but_not_below_the_affine_fit_or_a_grey_level() -> None:
    assert kinds(seen(Watch(60, 20), [10, 29, 29, 29])) == []
    assert kinds(seen(Watch(60, 20), [10, 31, 31])) == ["divergence"]
    assert kinds(seen(Watch(60, 5), [10, 16, 16])) == ["divergence"]
    assert kinds(seen(Watch(60, 20), [89] * 5)) == []
    assert kinds(seen(Watch(60, 20), [91] * 5)) == ["divergence"]
    assert kinds(seen(Watch(0.1, 0.0), [0.05, 1.4, 1.4, 1.4])) == []


def test_a_resumed_watch_knows_what_it_saw() -> None:
    records = [{"images_seen": 10.0, "val_l1": 30.0}, {"images_seen": 20.0, "val_l1": 200.0}]
    watch = Watch(60, 20)
    watch.replay(records)
    assert (watch.best_l1, watch.best_images_seen, watch.is_suspicious) == (30, 10, True)
    assert kinds(seen(watch, [200])) == ["divergence"]


def test_collapse_takes_a_sure_discriminator_and_a_mute_generator_and_time() -> None:
    def watched(accuracy: float, detail: float, noise: float, validations: int = COLLAPSED_VALIDATIONS) -> list[str]:
        watch, alarms = Watch(60, 20), []
        for k in range(validations):
            watch.see({"discriminator_real": accuracy, "discriminator_generated": accuracy}, k)
            alarms += seen(watch, [50], val_gradient_energy_ratio=detail, val_dropout_diversity=noise)
        return kinds(alarms)

    assert watched(1.0, 0.0, 5.0) == ["collapse"]
    assert watched(1.0, 1.0, 0.0) == ["collapse"]
    assert watched(0.9, 0.0, 0.0) == []
    assert watched(1.0, 0.3, 0.5) == []
    assert watched(1.0, 0.0, 0.0, COLLAPSED_VALIDATIONS - 1) == []


def test_a_run_without_a_discriminator_cannot_collapse() -> None:
    assert kinds(seen(Watch(60, 20), [50] * 5, val_gradient_energy_ratio=0.0)) == []
