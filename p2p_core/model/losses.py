"""The objective (paper, equations 1 to 4; spec, section 2)."""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from p2p_core.config import Config

__all__ = ["ObjectiveConfig", "adversarial_loss", "discriminator_loss"]


class ObjectiveConfig(Config):
    """G* = gan_weight * GAN + l1_weight * L1 (paper, equation 4; lambda = 100).

    Attributes:
        gan: `bce`, the paper's non-saturating form, or `least_squares`, the PyTorch port's option.
    """

    l1_weight: float = Field(100.0, ge=0)
    gan_weight: float = Field(1.0, ge=0)
    gan: Literal["bce", "least_squares"] = "bce"


def adversarial_loss(logits: Tensor, *, real: bool, kind: Literal["bce", "least_squares"]) -> Tensor:
    """How far patch logits are from saying `real`, averaged over patches and batch."""
    truth = logits.new_full((1,), float(real)).expand_as(logits)
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, truth)
    return F.mse_loss(logits, truth)


def discriminator_loss(real_logits: Tensor, generated_logits: Tensor, kind: Literal["bce", "least_squares"]) -> Tensor:
    """Half the sum, which slows D relative to G (paper, section 3.3)."""
    on_real = adversarial_loss(real_logits, real=True, kind=kind)
    on_generated = adversarial_loss(generated_logits, real=False, kind=kind)
    return (on_real + on_generated) / 2
