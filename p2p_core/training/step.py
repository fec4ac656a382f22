"""One optimisation step: a discriminator step, then a generator step (paper, section 3.3). No `.item()` in here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from p2p_core.model.discriminator import PatchGAN
from p2p_core.model.generator import Generator, make_generator
from p2p_core.model.losses import Adversarial, adversarial_loss, discriminator_loss, reconstruction_loss
from p2p_core.model.processes import ALONE, Processes, share_batches
from p2p_core.training.config import OptimiserConfig, RunConfig
from p2p_core.training.data import Batch

__all__ = ["Adversary", "TrainingState", "make_state", "set_learning_rate", "training_step"]

Network = TypeVar("Network", bound=torch.nn.Module)


@dataclass
class Adversary:
    """The discriminator that a generator is trained against, and what trains it."""

    discriminator: PatchGAN
    optimiser: torch.optim.Adam


@dataclass
class TrainingState:
    """What a run changes as it goes, equal in all its processes. Without an adversarial objective there is no adversary.

    `totals`: sums of what `training_step` told since `logged_at` images, for a checkpoint may fall between two lines of a log;
    until they are averaged, of this process' rows.
    """

    generator: Generator
    averaged: Generator
    generator_optimiser: torch.optim.Adam
    adversary: Adversary | None
    images_seen: int = 0
    processes: Processes = ALONE
    logged_at: int = 0
    totals: dict[str, Tensor] = field(default_factory=dict)

    def model(self, config: RunConfig) -> Generator:
        """The generator that leaves the run: the averaged weights where the run averages, else the last."""
        return self.averaged if config.ema_images else self.generator


def make_state(config: RunConfig, device: torch.device, processes: Processes = ALONE) -> TrainingState:
    """Networks and optimisers at the start of a run; the seed decides every weight, the same in all processes."""
    torch.manual_seed(config.seed)
    options = config.optimiser
    generator = _on(make_generator(config.generator), device)
    share_batches(generator, processes)
    adversary = None
    if config.is_adversarial:
        discriminator = _on(PatchGAN(config.discriminator), device)
        share_batches(discriminator, processes)
        rate = options.learning_rate * options.discriminator_share
        adversary = Adversary(discriminator, _adam(discriminator, options, rate, device))
    averaged = _on(make_generator(config.generator), device)
    averaged.load_state_dict(generator.state_dict())
    averaged.requires_grad_(False)
    optimiser = _adam(generator, options, options.learning_rate, device)
    return TrainingState(generator, averaged, optimiser, adversary, processes=processes)


def _on(module: Network, device: torch.device) -> Network:
    module.to(device)
    for parameter in module.parameters():  # channels-last weights: what convolutions run fastest on
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def _adam(module: torch.nn.Module, options: OptimiserConfig, learning_rate: float, device: torch.device) -> torch.optim.Adam:
    # A tensor learning rate can be changed between replays of a captured CUDA graph.
    rate = torch.tensor(learning_rate, device=device)
    return torch.optim.Adam(
        module.parameters(), lr=rate, betas=(options.beta1, options.beta2), fused=True, capturable=device.type == "cuda"
    )


def set_learning_rate(state: TrainingState, config: RunConfig) -> None:
    """That of the next step, in both optimisers."""
    options = config.optimiser
    if options.decay_from >= 1 and not options.warm_up_images:
        return
    after_step = state.images_seen + config.batch_size  # the first step of a warm-up is small, not nothing
    rate = options.learning_rate_at(state.images_seen / config.budget_images) * options.warm_up_at(after_step)
    shares = [(state.generator_optimiser, 1.0)]
    shares += [(state.adversary.optimiser, options.discriminator_share)] if state.adversary is not None else []
    for optimiser, share in shares:
        for group in optimiser.param_groups:
            group["lr"].fill_(rate * share)


def training_step(state: TrainingState, config: RunConfig, batch: Batch) -> dict[str, Tensor]:
    """Update the networks with one batch. Returns scalar losses, gradient norms and D's accuracies, still on the device.

    With several processes `batch` is this one's rows, and losses and accuracies are theirs; gradients, their norms and what
    becomes of the networks are the whole batch's.
    """
    with _autocast(config, batch):
        generated_NCHW = state.generator(batch.input_NCHW)
    losses: dict[str, Tensor] = {}
    if state.adversary is not None and (kind := config.objective.adversarial) != "none":
        losses |= _discriminator_step(state.adversary, config, batch, generated_NCHW.detach(), kind, state.processes)
    losses |= _generator_step(state, config, batch, generated_NCHW)
    _average(state, config)
    return losses


def _discriminator_step(
    adversary: Adversary, config: RunConfig, batch: Batch, generated_NCHW: Tensor, kind: Adversarial, processes: Processes
) -> dict[str, Tensor]:
    with _autocast(config, batch):
        real_logits = adversary.discriminator(batch.input_NCHW, batch.target_NCHW)
        generated_logits = adversary.discriminator(batch.input_NCHW, generated_NCHW)
        loss = discriminator_loss(real_logits.float(), generated_logits.float(), kind)
    gradient_norm = _update(adversary.optimiser, loss, config, processes)
    undecided = 0.5 if kind == "least_squares" else 0.0  # logits of cross-entropy, but least squares pull towards 0 and 1
    return {
        "discriminator_loss": loss.detach(),
        "discriminator_gradient_norm": gradient_norm,
        "discriminator_real": (real_logits > undecided).float().mean(),
        "discriminator_generated": (generated_logits <= undecided).float().mean(),
    }


def _generator_step(state: TrainingState, config: RunConfig, batch: Batch, generated_NCHW: Tensor) -> dict[str, Tensor]:
    """L1 is measured whatever the objective: people read it beside every other."""
    objective, losses = config.objective, {}
    total = generated_NCHW.new_zeros((), dtype=torch.float32)
    if state.adversary is not None and objective.adversarial != "none":
        discriminator = state.adversary.discriminator
        discriminator.requires_grad_(False)  # the generator's step needs no gradient of D's weights
        with _autocast(config, batch):
            logits = discriminator(batch.input_NCHW, generated_NCHW)
            fooled = adversarial_loss(logits.float(), real=True, kind=objective.adversarial)
        total = total + objective.adversarial_weight * fooled
        losses["generator_gan"] = fooled.detach()
    if objective.reconstruction != "none":
        reconstruction = reconstruction_loss(generated_NCHW.float(), batch.target_NCHW, objective.reconstruction)
        total = total + objective.reconstruction_weight * reconstruction
        losses[f"generator_{objective.reconstruction}"] = reconstruction.detach()
    if "generator_l1" not in losses:
        losses["generator_l1"] = reconstruction_loss(generated_NCHW.detach().float(), batch.target_NCHW, "l1")
    losses["generator_gradient_norm"] = _update(state.generator_optimiser, total, config, state.processes)
    if state.adversary is not None:
        state.adversary.discriminator.requires_grad_(True)
    return losses


def _autocast(config: RunConfig, batch: Batch) -> torch.autocast:
    device = batch.input_NCHW.device.type
    return torch.autocast(device, torch.bfloat16, enabled=config.precision == "bf16", cache_enabled=False)


def _update(optimiser: torch.optim.Adam, loss: Tensor, config: RunConfig, processes: Processes) -> Tensor:
    """The norm of the whole batch's gradients as they came, before any scaling down."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    parameters = optimiser.param_groups[0]["params"]
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    processes.average_(gradients)
    norm = torch.nn.utils.get_total_norm(gradients)
    if config.optimiser.max_gradient_norm:
        torch.nn.utils.clip_grads_with_norm_(parameters, config.optimiser.max_gradient_norm, norm)
    optimiser.step()
    return norm


@torch.no_grad()
def _average(state: TrainingState, config: RunConfig) -> None:
    """Exponential moving average with a half-life in images (edm2, section on post-hoc EMA, in its plain form)."""
    if config.ema_images == 0:
        return
    keep = 0.5 ** (config.batch_size / config.ema_images)
    averaged: list[Tensor] = list(state.averaged.parameters())
    current: list[Tensor] = list(state.generator.parameters())
    torch._foreach_lerp_(averaged, current, 1 - keep)
