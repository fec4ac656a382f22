"""The objective (paper, equations 1 to 4; spec, section 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from p2p_core.config import Config

__all__ = ["Adversarial", "ObjectiveConfig", "Reconstruction", "adversarial_loss", "discriminator_loss", "reconstruction_loss"]

Reconstruction = Literal["l1", "l2"]
Adversarial = Literal["cross_entropy", "least_squares"]


class ObjectiveConfig(Config):
    """G* = adversarial_weight * GAN + reconstruction_weight * L1 (paper, equation 4; lambda = 100).

    Whether the GAN is conditional is the discriminator's to say (`PatchGANConfig.conditional`).

    Attributes:
        reconstruction: mean absolute or squared difference to the target; `none` gives the paper's GAN and cGAN.
        adversarial: `cross_entropy`, the paper's non-saturating form, or `least_squares`, the PyTorch port's option (Mao et
            al., 2017). `none` gives L1 and L2 alone: no discriminator is made.
    """

    reconstruction: Reconstruction | Literal["none"] = "l1"
    reconstruction_weight: float = Field(100.0, gt=0)
    adversarial: Adversarial | Literal["none"] = "cross_entropy"
    adversarial_weight: float = Field(1.0, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _from_earlier_names(cls, values: Any) -> Any:
        """Runs of the first releases name `l1_weight`, `gan_weight` and `gan`, where a weight of 0 leaves a term out."""
        if not isinstance(values, Mapping) or not {"l1_weight", "gan_weight", "gan"} & values.keys():
            return values
        renamed = dict(values)
        l1_weight, gan_weight = renamed.pop("l1_weight", 100.0), renamed.pop("gan_weight", 1.0)
        gan = {"bce": "cross_entropy"}.get(kind := renamed.pop("gan", "bce"), kind)
        renamed |= {"reconstruction_weight": l1_weight} if l1_weight else {"reconstruction": "none"}
        renamed |= {"adversarial": gan, "adversarial_weight": gan_weight} if gan_weight else {"adversarial": "none"}
        return renamed

    @model_validator(mode="after")
    def _has_a_term(self) -> Self:
        if self.reconstruction == "none" and self.adversarial == "none":
            raise ValueError("reconstruction and adversarial are both none: there is nothing to learn from")
        return self


def reconstruction_loss(generated_NCHW: Tensor, target_NCHW: Tensor, kind: Reconstruction) -> Tensor:
    """Mean absolute (paper, equation 3) or squared difference over all values."""
    difference = generated_NCHW - target_NCHW
    return difference.abs().mean() if kind == "l1" else difference.square().mean()


def adversarial_loss(logits: Tensor, *, real: bool, kind: Adversarial) -> Tensor:
    """How far patch logits are from saying `real`, averaged over patches and batch."""
    truth = logits.new_full((1,), float(real)).expand_as(logits)
    if kind == "cross_entropy":
        return F.binary_cross_entropy_with_logits(logits, truth)
    return F.mse_loss(logits, truth)


def discriminator_loss(real_logits: Tensor, generated_logits: Tensor, kind: Adversarial) -> Tensor:
    """Half the sum, which slows D relative to G (paper, section 3.3)."""
    on_real = adversarial_loss(real_logits, real=True, kind=kind)
    on_generated = adversarial_loss(generated_logits, real=False, kind=kind)
    return (on_real + on_generated) / 2
