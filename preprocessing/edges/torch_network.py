"""The network of holistically-nested edge detection (Xie and Tu 2015, "HED"): VGG16 with a side output on each stage.

Legend: N images, C channels, H W pixels; H and W are multiples of `STRIDE_PX`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from preprocessing.edges.weights import CONVOLUTIONS, Arrays, HEDWeights

__all__ = ["HED", "TorchHED"]


class HED(nn.Module):
    """RGB photos to edge probabilities.

    Every stage's score is magnified about half-pixel centres. Where the sizes are multiples of `STRIDE_PX` the factors are
    whole and no scale moves against another; the reference's crops move edges (spec, section 4).

    Args:
        weights: of one of the published files.
    """

    mean: Tensor

    def __init__(self, weights: HEDWeights) -> None:
        super().__init__()
        self.shifts_px = weights.shifts_px
        arrays = weights.arrays
        self.stages = nn.ModuleList()
        self.scores = nn.ModuleList()
        for stage, count in enumerate(CONVOLUTIONS, start=1):
            names = [f"stage{stage}.{index}" for index in range(1, count + 1)]
            self.stages.append(nn.ModuleList(_convolution(arrays, name) for name in names))
            self.scores.append(_convolution(arrays, f"score{stage}"))
        self.fuse = _convolution(arrays, "fuse")
        self.register_buffer("mean", torch.from_numpy(arrays["mean"]).reshape(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, photo_NCHW: Tensor) -> Tensor:
        """(N, 3, H, W) RGB in 0..255 -> (N, 1, H, W) probability of an edge."""
        features = photo_NCHW - self.mean
        sides = []
        for number, (stage, score) in enumerate(zip(self.stages, self.scores, strict=True)):
            if number:
                features = F.max_pool2d(features, kernel_size=2, stride=2)
            for convolution in stage:  # type: ignore[attr-defined]  # a ModuleList of ModuleLists
                features = F.relu_(convolution(features))
            side = F.interpolate(score(features), size=photo_NCHW.shape[2:], mode="bilinear", align_corners=False)
            shift_px = self.shifts_px[number]
            sides.append(F.pad(side, (0, shift_px, 0, shift_px), mode="replicate")[..., shift_px:, shift_px:])
        return torch.sigmoid(self.fuse(torch.cat(sides, dim=1)))


def _convolution(arrays: Arrays, name: str) -> nn.Conv2d:
    kernel_OIHW = torch.from_numpy(arrays[f"{name}.weight"])
    out_channels, in_channels, size_px, _ = kernel_OIHW.shape
    convolution = nn.Conv2d(in_channels, out_channels, size_px, padding=size_px // 2)
    convolution.weight.data, convolution.bias.data = kernel_OIHW, torch.from_numpy(arrays[f"{name}.bias"])  # type: ignore[union-attr]
    return convolution


class TorchHED:
    """The network on a device, with numpy in and out.

    Args:
        weights: of one of the published files.
        device: `cpu`, `cuda`, `cuda:1`.
    """

    def __init__(self, weights: HEDWeights, device: str) -> None:
        self._device = torch.device(device)
        self._network = HED(weights).to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def probabilities(self, photos_NHWC: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) RGB in 0..255, sides multiples of `STRIDE_PX` -> (N, H, W) probability of an edge."""
        photos = torch.from_numpy(photos_NHWC).to(self._device).permute(0, 3, 1, 2)  # channels_last as it is
        probabilities: NDArray[np.float32] = self._network(photos)[:, 0].float().cpu().numpy()
        return probabilities
