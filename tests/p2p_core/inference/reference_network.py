"""The reference's U-Net, written from the facts in `reference_checkpoint`: a block holds the next smaller one in its middle."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Norm = Literal["batch", "instance"]


class Block(nn.Module):
    """Halve, whatever lies within, double; then join the result behind the input. The outermost joins nothing."""

    def __init__(self, outer: int, inner: int, bands: int | None, within: nn.Module | None, norm: Norm, dropout: bool) -> None:
        super().__init__()
        self.outermost = bands is not None
        biased = norm == "instance"
        kind = nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d
        down = nn.Conv2d(bands or outer, inner, 4, 2, 1, bias=biased)
        if self.outermost:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1)
            layers = [down, within, nn.ReLU(True), up, nn.Tanh()]
        elif within is None:
            up = nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=biased)
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, kind(outer)]
        else:
            up = nn.ConvTranspose2d(2 * inner, outer, 4, 2, 1, bias=biased)
            layers = [nn.LeakyReLU(0.2, True), down, kind(inner), within, nn.ReLU(True), up, kind(outer)]
            layers += [nn.Dropout(0.5)] if dropout else []
        self.model = nn.Sequential(*layers)

    def forward(self, features_NCHW: Tensor) -> Tensor:
        within = self.model(features_NCHW)
        return within if self.outermost else torch.cat([features_NCHW, within], 1)


class ReferenceUNet(nn.Module):
    """`depth` halvings, widths 1, 2, 4, 8, 8 ... times `width`; dropout in the blocks of 8 to 8 but the innermost."""

    def __init__(
        self, depth: int, width: int, bands: tuple[int, int] = (3, 3), norm: Norm = "batch", dropout: bool = True
    ) -> None:
        super().__init__()
        block = Block(8 * width, 8 * width, None, None, norm, False)
        for _ in range(depth - 5):
            block = Block(8 * width, 8 * width, None, block, norm, dropout)
        for times in (4, 2, 1):
            block = Block(times * width, 2 * times * width, None, block, norm, False)
        self.model = Block(bands[1], width, bands[0], block, norm, False)

    def forward(self, input_NCHW: Tensor) -> Tensor:
        return self.model(input_NCHW)


def lived_in(
    depth: int, width: int, *, bands: tuple[int, int] = (3, 3), norm: Norm = "batch", dropout: bool = True
) -> nn.Module:
    """One whose running statistics and norms are not those it was born with, and whose output uses its whole range."""
    torch.manual_seed(depth)
    network = ReferenceUNet(depth, width, bands, norm, dropout)
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.normal_(1, 0.2)
                part.bias.normal_(0, 0.2)
        for _ in range(3):
            network(torch.randn(2, bands[0], 1 << depth, 2 << depth))
    return network
