"""Dropout, the paper's only noise (section 2.1), the same for a batch however many processes share it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from p2p_core.model.processes import OfWholeBatch

__all__ = ["Dropout"]


class Dropout(OfWholeBatch, nn.Dropout):
    """`nn.Dropout`. With several processes each draws the noise of the whole batch and takes its rows: all of them use up the
    same random numbers as one would, so they stay in step, and a checkpoint's random state is everyone's."""

    def forward(self, features_NCHW: Tensor) -> Tensor:
        if not self.training or self.processes.count == 1:
            return super().forward(features_NCHW)
        num_rows = len(features_NCHW) * self.processes.count
        rows = self.processes.share_of(num_rows)
        # Laid out in memory as the features are: noise is drawn in that order.
        channels_last = features_NCHW.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        ones_NCHW = features_NCHW.new_ones((num_rows, *features_NCHW.shape[1:])).contiguous(memory_format=layout)
        return features_NCHW * F.dropout(ones_NCHW, self.p)[rows.start : rows.stop]
