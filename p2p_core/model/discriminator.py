"""The PatchGAN discriminator (paper, section 3.2.2 and 6.1.2; spec, "Discriminator (PatchGAN)")."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from p2p_core.config import Config
from p2p_core.model.generator import initialise_convolutions, initialise_he
from p2p_core.model.norm import BatchNorm

__all__ = ["PatchGAN", "PatchGANConfig"]


class PatchGANConfig(Config):
    """Architecture of a PatchGAN.

    Attributes:
        input_bands, target_bands: channels of the input's and the target's encoding.
        num_layers: stride-2 convolutions; receptive field 16, 34, 70, 142, 286 px for 1..5.
        conditional: see the input beside the (generated or real) target; the cGAN of the paper.
        norm: `none` leaves the norms out. Batches of real and of generated images are normalised apart, which hides from D
            that generated ones are fainter in detail; without norms it sees a blur at once.
        initialisation: as in `UNetConfig`.
    """

    input_bands: int = Field(3, ge=1)
    target_bands: int = Field(3, ge=1)
    num_layers: int = Field(3, ge=1, le=6)
    base_width: int = Field(64, ge=1)
    conditional: bool = True
    norm: Literal["batch", "none"] = "batch"
    initialisation: Literal["paper", "he"] = "paper"

    @property
    def receptive_field_px(self) -> int:
        field = 1 + 3 + 3  # the two stride-1 convolutions, from the output back
        for _ in range(self.num_layers):
            field = field * 2 + 2
        return field


class PatchGAN(nn.Module):
    """(N, input_bands, H, W) and (N, target_bands, H, W) -> (N, 1, h, w) logits, one a patch."""

    def __init__(self, config: PatchGANConfig) -> None:
        super().__init__()
        self.config = config
        seen_bands = config.target_bands + (config.input_bands if config.conditional else 0)
        widths = [config.base_width * min(2**n, 8) for n in range(config.num_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(seen_bands, widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
        for n in range(1, config.num_layers + 1):
            stride = 2 if n < config.num_layers else 1
            layers.append(nn.Conv2d(widths[n - 1], widths[n], 4, stride, 1, bias=config.norm == "none"))
            if config.norm == "batch":
                layers.append(BatchNorm(widths[n]))
            layers.append(nn.LeakyReLU(0.2))
        layers.append(nn.Conv2d(widths[-1], 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)
        if config.initialisation == "he":
            initialise_he(self)
        else:
            initialise_convolutions(self)

    def forward(self, input_NCHW: Tensor, target_NCHW: Tensor) -> Tensor:
        seen = torch.cat([input_NCHW, target_NCHW], dim=1) if self.config.conditional else target_NCHW
        logits: Tensor = self.layers(seen)
        return logits
