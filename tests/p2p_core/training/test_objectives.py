"""Every objective and network of the paper trains, and a step descends the very terms that its objective names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from p2p_core.config import replace, with_settings
from p2p_core.errors import ConfigError
from p2p_core.inference.bundle import load_bundle
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import GeneratorConfig, ResNetConfig, UNetConfig
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.loop import train
from p2p_core.training.step import TrainingState, make_state, training_step
from p2p_core.training.tracker import JsonLinesTracker, read_metrics

OBJECTIVES = {
    "L1": ("objective.adversarial=none",),
    "L2": ("objective.reconstruction=l2", "objective.adversarial=none"),
    "GAN": ("objective.reconstruction=none", "discriminator.conditional=false"),
    "cGAN": ("objective.reconstruction=none",),
    "L1+GAN": ("discriminator.conditional=false",),
    "L1+cGAN": (),
    "L2+cGAN": ("objective.reconstruction=l2", "objective.reconstruction_weight=30"),
    "L1+cGAN, least squares": ("objective.adversarial=least_squares", "objective.adversarial_weight=0.5"),
    "L1+PixelGAN": ("discriminator.num_layers=0",),
}
GENERATORS: dict[str, tuple[str, ...]] = {
    "U-Net": (),
    "encoder-decoder": ("generator.skips=false",),
    "ResNet": ("generator.num_blocks=2", "generator.kind=resnet"),
}
SMALL = RunConfig(
    recipe="small",
    generator=UNetConfig(depth=3, base_width=4, dropout=0.0),
    discriminator=PatchGANConfig(num_layers=1, base_width=4),
    augment=AugmentConfig(crop_px=32),
    batch_size=2,
    budget_images=4,
    log_every_images=2,
    validate_every_images=0,
)


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_trains_every_network_with_every_objective(
    objective: str, generator: str, pair_store: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    config = with_settings(SMALL, [*OBJECTIVES[objective], *GENERATORS[generator]])
    tracker = JsonLinesTracker(tmp_path)
    result = train(config, pair_store, tmp_path, tracker=tracker, progress=Silent(), device="cpu")
    tracker.close()
    assert load_bundle(result.bundle).spec.architecture == config.generator
    metrics = {name for record in read_metrics(tmp_path / "metrics.jsonl") for name in record}
    state = load_file(tmp_path / "checkpoints/0000000004/state.safetensors")
    has_discriminator = any(name.startswith("discriminator") for name in state)
    assert "generator_l1" in metrics
    assert ("generator_l2" in metrics) is ("L2" in objective)
    assert ({"generator_gan", "discriminator_loss"} <= metrics) is has_discriminator is ("GAN" in objective)


def by_hand(state: TrainingState, batch: Batch, objective: str) -> tuple[Tensor, Tensor | None]:
    """The losses of the paper's equations, for G and D, from the networks alone."""
    generated = state.generator(batch.input_NCHW)
    difference = generated - batch.target_NCHW
    total = torch.zeros(())
    if "L1" in objective:
        total = total + 100 * difference.abs().mean()
    if "L2" in objective:
        total = total + (30 if "GAN" in objective else 100) * (difference**2).mean()
    if "GAN" not in objective:
        return total, None
    assert state.adversary is not None
    judge = state.adversary.discriminator
    on_real, on_detached = (judge(batch.input_NCHW, x) for x in (batch.target_NCHW, generated.detach()))
    on_generated = judge(batch.input_NCHW, generated)
    if "least squares" in objective:
        of_judge = ((on_real - 1) ** 2).mean() / 2 + (on_detached**2).mean() / 2
        return total + 0.5 * ((on_generated - 1) ** 2).mean(), of_judge
    of_judge = -(F.logsigmoid(on_real).mean() + F.logsigmoid(-on_detached).mean()) / 2
    return total - F.logsigmoid(on_generated).mean(), of_judge


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_step_descends_the_gradient_of_the_terms_that_the_objective_names(objective: str) -> None:
    torch.manual_seed(3)
    images = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    batch = Batch(images[0], images[1], 2)
    config = with_settings(SMALL, OBJECTIVES[objective])
    state = make_state(replace(config, optimiser=OptimiserConfig(learning_rate=1e-12)), torch.device("cpu"))
    of_generator, of_judge = by_hand(state, batch, objective)
    weights = list(state.generator.parameters())
    expected = torch.autograd.grad(of_generator, weights, retain_graph=True)
    judged: list[Tensor] = list(state.adversary.discriminator.parameters()) if state.adversary else []
    expected_of_judge = torch.autograd.grad(of_judge, judged) if of_judge is not None else ()
    training_step(state, config, batch)
    assert bool(judged) is ("GAN" in objective)
    for weight, gradient in zip([*weights, *judged], [*expected, *expected_of_judge], strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad, gradient, rtol=1e-3, atol=1e-6 * float(gradient.abs().max()) + 1e-9)


def test_an_objective_without_any_term_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to learn from"):
        with_settings(SMALL, ["objective.reconstruction=none", "objective.adversarial=none"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["generator.kind=vgg"], r"'generator\.kind=vgg' names an unknown kind\. Use one of: unet, resnet"),
        (["generator.kind=resnet", "generator.depth=5"], "unknown key 'depth'"),
        (["discriminator.kind=pixel"], "unknown key 'kind'"),
        (["objective.l1_weight=10"], "Known keys are: reconstruction, reconstruction_weight"),
        (["discriminator.num_layers=4"], "crop_px 32 gives a discriminator of 4 layers no patch to judge; it needs 48 px"),
        (
            ["generator.kind=resnet", "augment.crop_px=6"],
            r"not a multiple of the generator's lattice, 4 px \(ResNet-9",
        ),
        (["generator.kind=resnet", "augment.crop_px=4"], "smaller than the generator's 8 px"),
    ],
)
def test_a_choice_that_cannot_be_trained_is_refused_by_name(settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_settings(SMALL, settings)


def test_without_a_discriminator_its_size_forbids_no_crop() -> None:
    settings = ["objective.adversarial=none", "discriminator.num_layers=6"]
    assert not with_settings(SMALL, settings).is_adversarial


def test_another_kind_of_generator_keeps_what_both_kinds_have_whatever_the_order() -> None:
    wide = replace(SMALL, generator=UNetConfig(depth=3, base_width=24, input_bands=4))
    for settings in (["generator.kind=resnet", "generator.num_blocks=6"], ["generator.num_blocks=6", "generator.kind=resnet"]):
        chosen: GeneratorConfig = with_settings(wide, settings).generator
        assert chosen == ResNetConfig(num_blocks=6, base_width=24, input_bands=4)
