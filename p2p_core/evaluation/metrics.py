"""Scores of generated images against their targets. Arrays are (N, H, W, C) in grey levels of 0..255, which for pictures are
their uint8 pixels (`Encoding.to_grey_levels`); every score is one number an image.

L1 is in grey levels of 255. Gradient energy and checkerboard energy are compared as ratios to the target's, over all
images together: below 1 is smoother than the truth (an L1 blur), above 1 rougher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

__all__ = ["SSIM_WINDOW_PX", "checkerboard_energy", "energy_ratio", "gradient_energy", "l1", "psnr_db", "ssim"]

Images = NDArray[Any]
Scores = NDArray[np.float64]
_MAX_PSNR_DB = 100.0
"""For identical images, whose PSNR is infinite; keeps means finite."""


def l1(generated: Images, target: Images) -> Scores:
    """Mean absolute difference, 0..255."""
    return np.asarray(np.abs(generated.astype(np.float32) - target).mean(axis=(1, 2, 3), dtype=np.float64))


def psnr_db(generated: Images, target: Images) -> Scores:
    """10 log10(255^2 / MSE), at most 100 dB."""
    error = np.square(generated.astype(np.float32) - target).mean(axis=(1, 2, 3), dtype=np.float64)
    return np.asarray(10 * np.log10(255.0**2 / np.maximum(error, 255.0**2 * 10 ** (-_MAX_PSNR_DB / 10))))


SSIM_WINDOW_PX = 11
"""Side of its Gaussian window, cut at 3.5 sigma."""


def ssim(generated: Images, target: Images) -> Scores:
    """Structural similarity (Wang et al., 2004): Gaussian window of sigma 1.5, population covariance, mean of bands."""
    return np.array(
        [
            structural_similarity(
                g, t, data_range=255, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )
            for g, t in zip(generated, target, strict=True)
        ]
    )


def gradient_energy(images: Images) -> Scores:
    """Mean squared difference of horizontal and vertical neighbours."""
    values = images.astype(np.float32)
    across = np.square(np.diff(values, axis=2)).mean(axis=(1, 2, 3), dtype=np.float64)
    down = np.square(np.diff(values, axis=1)).mean(axis=(1, 2, 3), dtype=np.float64)
    return np.asarray(across + down)


def checkerboard_energy(images: Images) -> Scores:
    """Mean squared diagonal detail of every 2x2 px block: what a period-2 checkerboard puts there and nature does not."""
    values = images.astype(np.float32)
    height, width = (size // 2 * 2 for size in values.shape[1:3])
    even, odd = values[:, 0:height:2], values[:, 1:height:2]
    detail = even[:, :, 0:width:2] - even[:, :, 1:width:2] - odd[:, :, 0:width:2] + odd[:, :, 1:width:2]
    return np.asarray(np.square(detail / 2).mean(axis=(1, 2, 3), dtype=np.float64))


def energy_ratio(energy: Callable[[Images], Scores], generated: Images, target: Images) -> float:
    """Energy of all generated images over that of all targets; finite also where the targets are flat."""
    return (float(energy(generated).sum()) + 1e-6) / (float(energy(target).sum()) + 1e-6)
