"""How networks start (paper, section 6.2; spec, section 2)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from p2p_core.model.resize_conv import ResizeConv

__all__ = ["Initialisation", "initialise", "scale_output_layer"]

Initialisation = Literal["paper", "he"]

OUTPUT_SCALE = 0.5
"""Of the output layer's He weights at the start."""


def initialise(module: nn.Module, kind: Initialisation) -> None:
    """Give every convolution weights of this kind and biases of 0; norms start by themselves (`BatchNorm`).

    `paper` is N(0, 0.02); `he` N(0, 2 / fan_in), fan_in being what one output pixel sums (He et al., 2015).
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, 0.0, 0.02 if kind == "paper" else (2 / _fan_in(part)) ** 0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _fan_in(part: nn.Conv2d | nn.ConvTranspose2d) -> int:
    height, width = part.kernel_size
    summed: int = part.in_channels * height * width
    if isinstance(part, nn.ConvTranspose2d):
        return summed // (part.stride[0] * part.stride[1])
    if isinstance(part, ResizeConv):
        return part.in_channels * 16  # up to 4 weights fall on one source pixel and add up
    return summed


@torch.no_grad()
def scale_output_layer(generator: nn.Module) -> None:
    """Start near grey: at full size the last layer paints noise that a brief training must first take away."""
    last = [part for part in generator.modules() if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)][-1]
    last.weight.mul_(OUTPUT_SCALE)
