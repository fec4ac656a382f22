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
from p2p_core.model.processes import OfWholeBatch

__all__ = ["NORM_MODES", "BatchNorm", "NormMode", "norms_of", "reset_running_statistics", "set_norm_mode"]

NormMode = Literal["frozen", "instance"]
NORM_MODES: tuple[NormMode, ...] = get_args(NormMode)


class BatchNorm(OfWholeBatch, nn.BatchNorm2d):
    """`nn.BatchNorm2d` in training, over the whole batch however many processes share it; in `eval()` as `mode` says.

    Scale starts at N(1, 0.02) (paper, section 6.2).
    """

    mode: NormMode = "frozen"

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.normal_(self.weight, 1.0, 0.02)

    def forward(self, features_NCHW: Tensor) -> Tensor:
        if self.training and self.processes.count > 1:
            return self._over_shared_batch(features_NCHW)
        if self.training or self.mode == "frozen":
            return super().forward(features_NCHW)
        return F.instance_norm(features_NCHW, weight=self.weight, bias=self.bias, use_input_stats=True, eps=self.eps)

    def _over_shared_batch(self, features_NCHW: Tensor) -> Tensor:
        """As `nn.BatchNorm2d` of the whole batch: its mean and variance are means of the processes' equal shares."""
        values_NCHW = features_NCHW.float()
        mean_C = self.processes.mean(values_NCHW.mean((0, 2, 3)))
        centred_NCHW = values_NCHW - mean_C.view(1, -1, 1, 1)
        variance_C = self.processes.mean(centred_NCHW.square().mean((0, 2, 3)))
        self._remember(mean_C, variance_C, num_values=values_NCHW[:, 0].numel() * self.processes.count)
        gain_C = self.weight * (variance_C + self.eps).rsqrt()
        normed_NCHW = centred_NCHW * gain_C.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return normed_NCHW.to(features_NCHW.dtype)

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor, num_values: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None, "plain averages are taken by one process alone"
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_C, self.momentum)
        self.running_var.lerp_(variance_C * (num_values / (num_values - 1)), self.momentum)


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
