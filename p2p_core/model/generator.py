"""The U-Net generator (paper, section 6.1.1; spec, table "Generator U-Net").

Legend: N batch, C bands or channels, H and W pixels. `encoder[i]` halves H and W, `decoder[i]` doubles them;
`decoder[0]` starts from the bottleneck.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from p2p_core.config import Config
from p2p_core.model.norm import BatchNorm

__all__ = ["UNet", "UNetConfig", "initialise_convolutions"]

NUM_DROPOUT_LEVELS = 3
"""Dropout sits on the first three decoder levels (spec: Lua's placement, the paper's)."""


class UNetConfig(Config):
    """Architecture of a U-Net.

    Attributes:
        depth: number of halvings; inputs are multiples of 2**depth px. 8 in the paper, 7 for 128 px images.
        base_width: channels after the first convolution; doubled per level up to 8 times that.
        skips: False gives the paper's encoder-decoder.
        dropout: probability on the first three decoder levels; the paper's only noise.
        upsampling: `transposed` is the paper's k4 s2 transposed convolution; `resize` doubles pixels and convolves
            k3, which cannot draw a checkerboard by itself (Odena et al., 2016).
    """

    input_bands: int = Field(3, ge=1, le=64)
    output_bands: int = Field(3, ge=1, le=64)
    depth: int = Field(8, ge=1, le=10)
    base_width: int = Field(64, ge=1)
    skips: bool = True
    dropout: float = Field(0.5, ge=0, lt=1)
    upsampling: Literal["transposed", "resize"] = "transposed"

    @property
    def lattice_px(self) -> int:
        """Inputs are multiples of this; window origins on its multiples give the same output as the whole image."""
        return 1 << self.depth

    @property
    def halo_px(self) -> int:
        """Context that a core on the lattice reads beyond its edges: 2**(depth + 1) - 1.

        Going up, a core that starts at 0 needs index -1 at every level (both upsamplings); going down, index -1
        widens as 2 i - 1 per level (spec, "Receptive field and exact tiling").
        """
        return 2 * self.lattice_px - 1

    def width(self, level: int) -> int:
        """Channels of encoder feature `level`, 1-based."""
        return self.base_width * (1, 2, 4, 8)[min(level - 1, 3)]


def initialise_convolutions(module: nn.Module) -> None:
    """Weights N(0, 0.02), biases 0 (paper, section 6.2)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class UNet(nn.Module):
    """(N, input_bands, H, W) in [-1, 1] -> (N, output_bands, H, W) in [-1, 1]; H and W multiples of 2**depth."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        depth = config.depth
        self.encoder = nn.ModuleList(_down(config, level) for level in range(1, depth + 1))
        self.decoder = nn.ModuleList(_up(config, level) for level in range(depth, 0, -1))
        initialise_convolutions(self)

    def forward(self, input_NCHW: Tensor) -> Tensor:
        features = input_NCHW
        encoded: list[Tensor] = []
        for down in self.encoder:
            features = down(features)
            encoded.append(features)
        encoded.pop()  # the bottleneck is where the decoder starts, not a skip
        for up in self.decoder:
            features = up(features)
            if encoded:
                skip = encoded.pop()
                if self.config.skips:
                    features = torch.cat([features, skip], dim=1)
        return features


def _down(config: UNetConfig, level: int) -> nn.Sequential:
    """Encoder level: [LeakyReLU] conv k4 s2 p1 [norm]. The first has neither, the bottleneck no norm.

    No bias anywhere, as in the reference codes: the parameter counts of the spec's table hold none. The bottleneck
    goes without norm because batch 1 would zero a 1x1 map there (spec, "Paper erratum").
    """
    first, bottleneck = level == 1, level == config.depth
    normed = not first and not bottleneck
    source = config.input_bands if first else config.width(level - 1)
    layers: list[nn.Module] = [] if first else [nn.LeakyReLU(0.2)]
    layers.append(nn.Conv2d(source, config.width(level), 4, 2, 1, bias=False))
    if normed:
        layers.append(BatchNorm(config.width(level)))
    return nn.Sequential(*layers)


def _up(config: UNetConfig, level: int) -> nn.Sequential:
    """Decoder level from feature `level` to `level - 1`: ReLU, upsample, norm, [dropout]; the last ends in tanh."""
    last, bottleneck = level == 1, level == config.depth
    source = config.width(level) * (1 if bottleneck or not config.skips else 2)
    target = config.output_bands if last else config.width(level - 1)
    layers: list[nn.Module] = [nn.ReLU(), *_upsample(config, source, target, bias=last)]
    if last:
        return nn.Sequential(*layers, nn.Tanh())
    layers.append(BatchNorm(target))
    if config.dropout > 0 and config.depth - level < NUM_DROPOUT_LEVELS:
        layers.append(nn.Dropout(config.dropout))
    return nn.Sequential(*layers)


def _upsample(config: UNetConfig, source: int, target: int, *, bias: bool) -> list[nn.Module]:
    if config.upsampling == "transposed":
        return [nn.ConvTranspose2d(source, target, 4, 2, 1, bias=bias)]
    return [nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(source, target, 3, 1, 1, bias=bias)]
