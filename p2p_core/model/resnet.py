"""The ResNet generator of the PyTorch port, ResNet-6 and ResNet-9 (Johnson et al., 2016; spec, section 1).

Legend: N batch, C bands or channels, H and W pixels. Two convolutions halve H and W, `num_blocks` residual blocks work at a
quarter of the size, two transposed convolutions double it back.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from p2p_core.config import Config
from p2p_core.model.initialisation import initialise
from p2p_core.model.norm import BatchNorm

__all__ = ["ResNet", "ResNetConfig"]


class ResNetConfig(Config):
    """Architecture of a ResNet generator.

    Attributes:
        input_bands, output_bands: channels of the input's and the target's encoding.
        num_blocks: residual blocks; 6 for 128 px images and 9 for 256 px in the port.
        base_width: channels after the first convolution; four times that in the blocks.
        instance_norm: the port's option instead of batch norm: each picture's own statistics, in training too, without scale
            and shift, and every convolution has a bias.
    """

    kind: Literal["resnet"] = "resnet"
    input_bands: int = Field(3, ge=1, le=64)
    output_bands: int = Field(3, ge=1, le=64)
    num_blocks: int = Field(9, ge=1)
    base_width: int = Field(64, ge=1)
    instance_norm: bool = False

    @property
    def lattice_px(self) -> int:
        """Inputs are multiples of this; window origins on its multiples give the same output as the whole image."""
        return 4

    @property
    def smallest_px(self) -> int:
        """The least side of an input: to be mirrored, a feature at a quarter of the size needs two pixels."""
        return 8

    @property
    def halo_px(self) -> int:
        """Context that a core on the lattice reads beyond its edges: 8 * num_blocks + 11.

        Pixels beyond a core's last that it reads: 3 for the last k7; of these, going up, 2 at half and 2 at a quarter of the
        size; 2 more for each block; four times that at full size again, and 3 for the first k7. On the lattice that is 84 px
        for 9 blocks and 60 px for 6 (spec, "Receptive field and exact tiling"). What the network mirrors at a window's edges
        lies further away, so a core is exact; where a scene ends, the archive has mirrored it before the network does.
        """
        return 8 * self.num_blocks + 11

    @property
    def description(self) -> str:
        return f"ResNet-{self.num_blocks}, base width {self.base_width}"


class ResNet(nn.Module):
    """(N, input_bands, H, W) in [-1, 1] -> (N, output_bands, H, W) in [-1, 1]; H and W multiples of 4, at least 8."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        full, half, quarter = config.base_width, config.base_width * 2, config.base_width * 4
        bias = config.instance_norm
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(config.input_bands, full, 7, padding=3, padding_mode="reflect", bias=bias)),
            *_normed(nn.Conv2d(full, half, 3, stride=2, padding=1, bias=bias)),
            *_normed(nn.Conv2d(half, quarter, 3, stride=2, padding=1, bias=bias)),
            *(ResidualBlock(quarter, instance_norm=config.instance_norm) for _ in range(config.num_blocks)),
            *_normed(nn.ConvTranspose2d(quarter, half, 3, stride=2, padding=1, output_padding=1, bias=bias)),
            *_normed(nn.ConvTranspose2d(half, full, 3, stride=2, padding=1, output_padding=1, bias=bias)),
            nn.Conv2d(full, config.output_bands, 7, padding=3, padding_mode="reflect"),
            nn.Tanh(),
        )
        initialise(self, "paper")

    def forward(self, input_NCHW: Tensor) -> Tensor:
        generated_NCHW: Tensor = self.layers(input_NCHW)
        return generated_NCHW


class ResidualBlock(nn.Module):
    """Features of `width` channels, plus what two mirrored k3 convolutions make of them; no activation after the sum."""

    def __init__(self, width: int, *, instance_norm: bool = False) -> None:
        super().__init__()
        bias = instance_norm
        first, second = (nn.Conv2d(width, width, 3, padding=1, padding_mode="reflect", bias=bias) for _ in range(2))
        self.layers = nn.Sequential(*_normed(first), second, _norm(second))

    def forward(self, features_NCHW: Tensor) -> Tensor:
        change_NCHW: Tensor = self.layers(features_NCHW)
        return features_NCHW + change_NCHW


def _normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    return convolution, _norm(convolution), nn.ReLU()


def _norm(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """Only the convolutions before instance norms have a bias."""
    width = convolution.out_channels
    return BatchNorm(width) if convolution.bias is None else nn.InstanceNorm2d(width)
