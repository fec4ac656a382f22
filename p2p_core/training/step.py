"""One optimisation step: a discriminator step, then a generator step (paper, section 3.3). No `.item()` in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from p2p_core.model.discriminator import PatchGAN
from p2p_core.model.generator import UNet
from p2p_core.model.losses import adversarial_loss, discriminator_loss
from p2p_core.training.config import OptimiserConfig, RunConfig
from p2p_core.training.data import Batch

__all__ = ["TrainingState", "make_state", "training_step"]

Network = TypeVar("Network", UNet, PatchGAN)


@dataclass
class TrainingState:
    """What a run changes as it goes."""

    generator: UNet
    discriminator: PatchGAN
    averaged: UNet
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    images_seen: int = 0

    def model(self, config: RunConfig) -> UNet:
        """The generator that leaves the run: the averaged weights where the run averages, else the last."""
        return self.averaged if config.ema_images else self.generator


def make_state(config: RunConfig, device: torch.device) -> TrainingState:
    """Networks and optimisers at the start of a run; the seed decides every weight."""
    torch.manual_seed(config.seed)
    generator = _on(UNet(config.generator), device)
    discriminator = _on(PatchGAN(config.discriminator), device)
    averaged = _on(UNet(config.generator), device)
    averaged.load_state_dict(generator.state_dict())
    averaged.requires_grad_(False)
    options = config.optimiser
    return TrainingState(
        generator,
        discriminator,
        averaged,
        _adam(generator, options, options.learning_rate, device),
        _adam(discriminator, options, options.learning_rate * options.discriminator_share, device),
    )


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


def training_step(state: TrainingState, config: RunConfig, batch: Batch) -> dict[str, Tensor]:
    """Update both networks with one batch. Returns scalar losses and D's accuracies, still on the device."""
    kind = config.objective.gan
    with torch.autocast(batch.input_NCHW.device.type, torch.bfloat16, enabled=config.precision == "bf16", cache_enabled=False):
        generated_NCHW = state.generator(batch.input_NCHW)
        real_logits = state.discriminator(batch.input_NCHW, batch.target_NCHW)
        generated_logits = state.discriminator(batch.input_NCHW, generated_NCHW.detach())
        loss_d = discriminator_loss(real_logits.float(), generated_logits.float(), kind)
    _update(state.discriminator_optimiser, loss_d, config)

    state.discriminator.requires_grad_(False)  # the generator's step needs no gradient of D's weights
    with torch.autocast(batch.input_NCHW.device.type, torch.bfloat16, enabled=config.precision == "bf16", cache_enabled=False):
        fooled = adversarial_loss(state.discriminator(batch.input_NCHW, generated_NCHW).float(), real=True, kind=kind)
        l1 = (generated_NCHW.float() - batch.target_NCHW).abs().mean()
        loss_g = config.objective.gan_weight * fooled + config.objective.l1_weight * l1
    _update(state.generator_optimiser, loss_g, config)
    state.discriminator.requires_grad_(True)
    _average(state, config)
    return {
        "generator_l1": l1.detach(),
        "generator_gan": fooled.detach(),
        "discriminator_loss": loss_d.detach(),
        "discriminator_real": (real_logits > 0).float().mean(),
        "discriminator_generated": (generated_logits <= 0).float().mean(),
    }


def _update(optimiser: torch.optim.Adam, loss: Tensor, config: RunConfig) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if config.optimiser.max_gradient_norm:
        torch.nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], config.optimiser.max_gradient_norm)
    optimiser.step()


@torch.no_grad()
def _average(state: TrainingState, config: RunConfig) -> None:
    """Exponential moving average with a half-life in images (edm2, section on post-hoc EMA, in its plain form)."""
    if config.ema_images == 0:
        return
    keep = 0.5 ** (config.batch_size / config.ema_images)
    averaged: list[Tensor] = list(state.averaged.parameters())
    current: list[Tensor] = list(state.generator.parameters())
    torch._foreach_lerp_(averaged, current, 1 - keep)
