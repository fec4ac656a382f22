"""The reference's ResNet, written from the facts in `reference_resnet`: one sequence, mirroring in layers of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Norm = Literal["batch", "instance", "none"]


def normed(convolution: nn.Module, width: int, norm: Norm) -> list[nn.Module]:
    kinds = {"batch": nn.BatchNorm2d(width), "instance": nn.InstanceNorm2d(width), "none": nn.Identity()}
    return [convolution, kinds[norm]]


class ResidualBlock(nn.Module):
    def __init__(self, width: int, norm: Norm, dropout: bool, mirrored: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for last in (False, True):
            layers += [nn.ReflectionPad2d(1)] if mirrored else []
            layers += normed(nn.Conv2d(width, width, 3, padding=0 if mirrored else 1, bias=norm == "instance"), width, norm)
            layers += [] if last else [nn.ReLU(True), *([nn.Dropout(0.5)] if dropout else [])]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, features_NCHW: Tensor) -> Tensor:
        return features_NCHW + self.conv_block(features_NCHW)


class ReferenceResNet(nn.Module):
    def __init__(
        self,
        num_blocks: int,
        width: int,
        bands: tuple[int, int] = (3, 3),
        norm: Norm = "batch",
        dropout: bool = True,
        *,
        halvings: int = 2,
        upsampling: Literal["transposed", "transposed k4", "resize"] = "transposed",
        mirrored: bool = True,
    ) -> None:
        super().__init__()
        bias = norm == "instance"
        layers: list[nn.Module] = [nn.ReflectionPad2d(3)]
        layers += [*normed(nn.Conv2d(bands[0], width, 7, bias=bias), width, norm), nn.ReLU(True)]
        widths = [width << level for level in range(halvings + 1)]
        for outer, inner in pairwise(widths):
            layers += [*normed(nn.Conv2d(outer, inner, 3, 2, 1, bias=bias), inner, norm), nn.ReLU(True)]
        layers += [ResidualBlock(widths[-1], norm, dropout, mirrored) for _ in range(num_blocks)]
        for inner, outer in zip(widths[:0:-1], widths[-2::-1], strict=True):
            if upsampling == "resize":
                layers += [nn.Upsample(scale_factor=2), nn.ReflectionPad2d(1)]
                up: nn.Module = nn.Conv2d(inner, outer, 3, bias=bias)
            elif upsampling == "transposed k4":
                up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=bias)
            else:
                up = nn.ConvTranspose2d(inner, outer, 3, 2, 1, output_padding=1, bias=bias)
            layers += [*normed(up, outer, norm), nn.ReLU(True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, bands[1], 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, input_NCHW: Tensor) -> Tensor:
        return self.model(input_NCHW)


def lived_in_resnet(
    num_blocks: int, width: int, *, bands: tuple[int, int] = (3, 3), norm: Norm = "batch", dropout: bool = True
) -> ReferenceResNet:
    """One whose running statistics and norms are not those it was born with, and whose output uses its whole range."""
    torch.manual_seed(num_blocks)
    network = ReferenceResNet(num_blocks, width, bands, norm, dropout)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.normal_(1, 0.2)
                part.bias.normal_(0, 0.2)
        network.model[-2].weight.mul_(12)
        for _ in range(3):
            network(torch.randn(2, bands[0], 32, 48))
    return network
