"""Batch normalisation that states which statistics it uses at inference.

Trained weights mean a different function under each mode (spec, "Normalisation at test time"):
- `frozen`: running statistics. A pixel's output depends on its receptive field alone, so tiles agree exactly.
- `instance`: each sample's own statistics with the trained scale and shift. Equals the paper's test mode (batch
  statistics at batch 1) at any batch size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from p2p_core.errors import ConfigError

__all__ = ["NORM_MODES", "BatchNorm", "NormMode", "norms_of", "reset_running_statistics", "set_norm_mode"]

NormMode = Literal["frozen", "instance"]
NORM_MODES: tuple[NormMode, ...] = get_args(NormMode)


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` in training; in `eval()` as `mode` says. Scale starts at N(1, 0.02) (paper, section 6.2)."""

    mode: NormMode = "frozen"

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.weight, 1.0, 0.02)

    def forward(self, features_NCHW: Tensor) -> Tensor:
        if self.training or self.mode == "frozen":
            return super().forward(features_NCHW)
        return F.instance_norm(features_NCHW, weight=self.weight, bias=self.bias, use_input_stats=True, eps=self.eps)


def norms_of(module: nn.Module) -> Iterator[BatchNorm]:
    return (m for m in module.modules() if isinstance(m, BatchNorm))


def set_norm_mode(module: nn.Module, mode: NormMode) -> None:
    """Choose the statistics every norm in `module` uses in `eval()`."""
    if mode not in NORM_MODES:
        raise ConfigError(f"Unknown norm mode {mode!r}", remedy=f"Use one of: {', '.join(NORM_MODES)}")
    for norm in norms_of(module):
        norm.mode = mode


@torch.no_grad()
def reset_running_statistics(module: nn.Module) -> None:
    """Forget the running statistics and average the next training-mode batches with equal weight."""
    for norm in norms_of(module):
        norm.reset_running_stats()
        norm.momentum = None
