"""The U-Net generator (paper, section 6.1.1; spec, table "Generator U-Net").

Legend: N batch, C bands or channels, H and W pixels. `encoder[i]` halves H and W, `decoder[i]` doubles them;
`decoder[0]` starts from the bottleneck.
"""

from __future__ import annotations

from typing import Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from p2p_core.config import Config
from p2p_core.model.dropout import Dropout
from p2p_core.model.initialisation import Initialisation, initialise, scale_output_layer
from p2p_core.model.norm import BatchNorm
from p2p_core.model.resize_conv import ResizeConv

__all__ = ["UNet", "UNetConfig"]


class UNetConfig(Config):
    """Architecture of a U-Net.

    Attributes:
        input_bands, output_bands: channels of the input's and the target's encoding.
        depth: number of halvings; inputs are multiples of 2**depth px. 8 in the paper, 7 for 128 px images.
        base_width: channels after the first convolution; doubled per level up to `max_widening` times that.
        skips: False gives the paper's encoder-decoder.
        dropout: probability on `dropout_levels`; the paper's only noise.
        dropout_levels: decoder levels that drop out, counted from the bottleneck. The paper and its Lua code drop out on
            the first three, the PyTorch port on those after the first that have the full width: 1, 2, 3 at depth 8.
        upsampling: `transposed` is the paper's k4 s2 transposed convolution; `resize` doubles pixels and convolves
            k3, which cannot draw a checkerboard by itself (Odena et al., 2016).
        norm: `none` leaves the norms out and gives every convolution a bias; a pixel then means the same in any picture,
            and `frozen` and `instance` are one function. `instance` takes each picture's own statistics in training too,
            without scale and shift, and every convolution has a bias: the PyTorch port's option.
        initialisation: `paper` is N(0, 0.02), which relies on norms and long training; `he` keeps the variance of
            activations (He et al., 2015) with an output layer of half that.
        detail_width: channels at full resolution, joined with the input by a last k3 convolution; 0 is the paper's
            U-Net, whose finest skip is at half resolution.
        input_mean, input_std: per band in [-1, 1]; inputs are standardised by them. None leaves inputs as they are. Pale
            maps vary by a small part of the range, and Adam's steps are too short to make up for it in a brief run.
    """

    kind: Literal["unet"] = "unet"
    input_bands: int = Field(3, ge=1, le=64)
    output_bands: int = Field(3, ge=1, le=64)
    depth: int = Field(8, ge=1, le=10)
    base_width: int = Field(64, ge=1)
    skips: bool = True
    dropout: float = Field(0.5, ge=0, lt=1)
    dropout_levels: tuple[int, ...] = (0, 1, 2)
    upsampling: Literal["transposed", "resize"] = "transposed"
    max_widening: int = Field(8, ge=1)
    norm: Literal["batch", "instance", "none"] = "batch"
    initialisation: Initialisation = "paper"
    detail_width: int = Field(0, ge=0)
    input_mean: tuple[float, ...] | None = None
    input_std: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _standardisation_fits_the_bands(self) -> Self:
        if (self.input_mean is None) != (self.input_std is None):
            raise ValueError("input_mean and input_std go together")
        for name, values in (("input_mean", self.input_mean), ("input_std", self.input_std)):
            if values is not None and len(values) != self.input_bands:
                raise ValueError(f"{name} has {len(values)} values for {self.input_bands} input bands")
        if self.input_std is not None and min(self.input_std) <= 0:
            raise ValueError("input_std is positive")
        return self

    @property
    def lattice_px(self) -> int:
        """Inputs are multiples of this; window origins on its multiples give the same output as the whole image."""
        return 1 << self.depth

    @property
    def halo_px(self) -> int:
        """Context that a core on the lattice reads beyond its edges: 2**(depth + 1) - 1.

        Going up, a core that starts at 0 needs index -1 at every level (both upsamplings); going down, index -1
        widens as 2 i - 1 per level (spec, "Receptive field and exact tiling"). The last convolution of `detail_width`
        asks for index -1 at full resolution, which is where the chain of -1 starts anyway.
        """
        return 2 * self.lattice_px - 1

    @property
    def smallest_px(self) -> int:
        """The least side of an input: the bottleneck is one pixel then."""
        return self.lattice_px

    @property
    def instance_norm(self) -> bool:
        """Whether each picture's own statistics are the only ones there are."""
        return self.norm == "instance"

    @property
    def description(self) -> str:
        skips = "" if self.skips else " without skips"
        return f"U-Net of depth {self.depth}{skips}, base width {self.base_width}, {self.upsampling} upsampling"

    def width(self, level: int) -> int:
        """Channels of encoder feature `level`, 1-based."""
        widening: int = min(2 ** (level - 1), self.max_widening)
        return self.base_width * widening


class UNet(nn.Module):
    """(N, input_bands, H, W) in [-1, 1] -> (N, output_bands, H, W) in [-1, 1]; H and W multiples of 2**depth."""

    input_mean: Tensor
    input_gain: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        depth = config.depth
        self.encoder = nn.ModuleList(_down(config, level) for level in range(1, depth + 1))
        self.decoder = nn.ModuleList(_up(config, level) for level in range(depth, 0, -1))
        detailed = config.detail_width + config.input_bands
        self.output = nn.Conv2d(detailed, config.output_bands, 3, 1, 1) if config.detail_width else None
        self._standardise(config)
        initialise(self, config.initialisation)
        if config.initialisation == "he":
            scale_output_layer(self)

    def forward(self, input_NCHW: Tensor) -> Tensor:
        if self.config.input_mean is not None:
            input_NCHW = (input_NCHW - self.input_mean) * self.input_gain
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
        if self.output is None:
            return features
        return torch.tanh(self.output(torch.cat([features, input_NCHW], dim=1)))

    def _standardise(self, config: UNetConfig) -> None:
        """Constants of the architecture, so they stay out of the weights."""
        mean, std = config.input_mean or (0.0,), config.input_std or (1.0,)
        self.register_buffer("input_mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("input_gain", 1 / torch.tensor(std).view(1, -1, 1, 1), persistent=False)


def _down(config: UNetConfig, level: int) -> nn.Sequential:
    """Encoder level: [LeakyReLU] conv k4 s2 p1 [norm]. The first has neither, the bottleneck no norm.

    No bias anywhere, as in the reference codes: the parameter counts of the spec's table hold none. The bottleneck
    goes without norm because batch 1 would zero a 1x1 map there (spec, "Paper erratum"). Without batch norms every
    convolution has a bias.
    """
    first, bottleneck = level == 1, level == config.depth
    source = config.input_bands if first else config.width(level - 1)
    layers: list[nn.Module] = [] if first else [nn.LeakyReLU(0.2)]
    layers.append(nn.Conv2d(source, config.width(level), 4, 2, 1, bias=config.norm != "batch"))
    if not (first or bottleneck):
        layers += _norm(config, config.width(level))
    return nn.Sequential(*layers)


def _up(config: UNetConfig, level: int) -> nn.Sequential:
    """Decoder level from feature `level` to `level - 1`: ReLU, upsample, norm, [dropout]; the last ends in tanh.

    With `detail_width` the last goes without norm and ends in ReLU: the output layer follows.
    """
    last, bottleneck = level == 1, level == config.depth
    source = config.width(level) * (1 if bottleneck or not config.skips else 2)
    target = (config.detail_width or config.output_bands) if last else config.width(level - 1)
    layers: list[nn.Module] = [nn.ReLU(), *_upsample(config, source, target, bias=last or config.norm != "batch")]
    if last:
        return nn.Sequential(*layers, nn.ReLU() if config.detail_width else nn.Tanh())
    layers += _norm(config, target)
    if config.dropout > 0 and config.depth - level in config.dropout_levels:
        layers.append(Dropout(config.dropout))
    return nn.Sequential(*layers)


def _norm(config: UNetConfig, width: int) -> list[nn.Module]:
    if config.norm == "none":
        return []
    return [BatchNorm(width) if config.norm == "batch" else nn.InstanceNorm2d(width)]


def _upsample(config: UNetConfig, source: int, target: int, *, bias: bool) -> list[nn.Module]:
    if config.upsampling == "transposed":
        return [nn.ConvTranspose2d(source, target, 4, 2, 1, bias=bias)]
    return [ResizeConv(source, target, bias=bias)]
