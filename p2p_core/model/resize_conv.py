"""Upsampling that draws no checkerboard by itself (Odena et al., 2016)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["ResizeConv"]


class ResizeConv(nn.Conv2d):
    """Doubling of pixels and a k3 convolution, computed as one k4 s2 transposed convolution of 4 / 9 the work.

    The k3 weights that fall on the same source pixel are added up first; results equal the two steps up to rounding.
    """

    fold: Tensor

    def __init__(self, source: int, target: int, *, bias: bool) -> None:
        super().__init__(source, target, 3, 1, 1, bias=bias)
        axis = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])  # transposed tap <- k3 taps
        self.register_buffer("fold", torch.einsum("ai,bj->abij", axis, axis).reshape(16, 9), persistent=False)

    def forward(self, features_NCHW: Tensor) -> Tensor:
        target, source = self.weight.shape[:2]
        folded = self.fold @ self.weight.permute(0, 2, 3, 1).reshape(target, 9, source)
        kernel = folded.view(target, 4, 4, source).permute(3, 0, 1, 2)
        return F.conv_transpose2d(features_NCHW, kernel, self.bias, stride=2, padding=1)
