"""The PatchGAN and PixelGAN discriminators (paper, section 3.2.2 and 6.1.2; spec, "Discriminator (PatchGAN)")."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from p2p_core.config import Config
from p2p_core.model.initialisation import Initialisation, initialise
from p2p_core.model.norm import BatchNorm

__all__ = ["PatchGAN", "PatchGANConfig"]


class PatchGANConfig(Config):
    """Architecture of a PatchGAN.

    Attributes:
        input_bands, target_bands: channels of the input's and the target's encoding.
        num_layers: stride-2 convolutions; receptive field 16, 34, 70, 142, 286, 574 px for 1..6. 0 is the paper's PixelGAN:
            1x1 convolutions, which judge each pixel by itself.
        conditional: see the input beside the (generated or real) target; the cGAN of the paper.
        norm: `none` leaves the norms out. Batches of real and of generated images are normalised apart, which hides from D
            that generated ones are fainter in detail; without norms it sees a blur at once.
        initialisation: as in `UNetConfig`.
    """

    input_bands: int = Field(3, ge=1)
    target_bands: int = Field(3, ge=1)
    num_layers: int = Field(3, ge=0, le=6)
    base_width: int = Field(64, ge=1)
    conditional: bool = True
    norm: Literal["batch", "none"] = "batch"
    initialisation: Initialisation = "paper"

    @property
    def receptive_field_px(self) -> int:
        if self.num_layers == 0:
            return 1
        field = 1 + 3 + 3  # the two stride-1 convolutions, from the output back
        for _ in range(self.num_layers):
            field = field * 2 + 2
        return field

    @property
    def smallest_px(self) -> int:
        """The least side of an image that gives a logit."""
        return 1 if self.num_layers == 0 else 3 << self.num_layers


class PatchGAN(nn.Module):
    """(N, input_bands, H, W) and (N, target_bands, H, W) -> (N, 1, h, w) logits, one a patch."""

    def __init__(self, config: PatchGANConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.Sequential(*(_patch_layers(config) if config.num_layers else _pixel_layers(config)))
        initialise(self, config.initialisation)

    def forward(self, input_NCHW: Tensor, target_NCHW: Tensor) -> Tensor:
        seen = torch.cat([input_NCHW, target_NCHW], dim=1) if self.config.conditional else target_NCHW
        logits: Tensor = self.layers(seen)
        return logits


def _patch_layers(config: PatchGANConfig) -> list[nn.Module]:
    """k4 convolutions: `num_layers` halve, one more widens, and the last gives the logits."""
    widths = [config.base_width * min(2**n, 8) for n in range(config.num_layers + 1)]
    layers: list[nn.Module] = [nn.Conv2d(_seen_bands(config), widths[0], 4, 2, 1), nn.LeakyReLU(0.2)]
    for n in range(1, config.num_layers + 1):
        stride = 2 if n < config.num_layers else 1
        convolution = nn.Conv2d(widths[n - 1], widths[n], 4, stride, 1, bias=config.norm == "none")
        layers += [convolution, *_norm(config, widths[n]), nn.LeakyReLU(0.2)]
    return [*layers, nn.Conv2d(widths[-1], 1, 4, 1, 1)]


def _pixel_layers(config: PatchGANConfig) -> list[nn.Module]:
    """1x1 convolutions. The last has no bias where there are norms: the reference's 9,024 parameters hold none."""
    width, wide = config.base_width, config.base_width * 2
    without_norm = config.norm == "none"
    return [
        nn.Conv2d(_seen_bands(config), width, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, wide, 1, bias=without_norm),
        *_norm(config, wide),
        nn.LeakyReLU(0.2),
        nn.Conv2d(wide, 1, 1, bias=without_norm),
    ]


def _seen_bands(config: PatchGANConfig) -> int:
    return config.target_bands + (config.input_bands if config.conditional else 0)


def _norm(config: PatchGANConfig, width: int) -> list[nn.Module]:
    return [BatchNorm(width)] if config.norm == "batch" else []
