"""Pixels in, pixels out: the one place where a generator meets 8-bit images. N images, H W pixels, C bands."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from p2p_core.encodings import Encoding
from p2p_core.errors import BundleError
from p2p_core.model.generator import UNet

__all__ = ["centre_crop", "forward_pixels"]


@torch.inference_mode()
def forward_pixels(
    generator: UNet, pixels_NHWC: NDArray[np.uint8], source: Encoding, target: Encoding, batch_size: int = 1
) -> NDArray[np.uint8]:
    """Translate uint8 images whose sides are multiples of the generator's lattice. The generator is in `eval()`.

    On a CPU the result of an image does not depend on `batch_size` or on its neighbours (measured, spec section 1).

    Raises:
        BundleError: sides or bands do not fit the generator.
    """
    height, width, bands = pixels_NHWC.shape[1:]
    lattice_px = generator.config.lattice_px
    if height % lattice_px or width % lattice_px:
        raise BundleError(
            f"The model translates images whose sides are multiples of {lattice_px} px, not {height}x{width}",
            remedy="Crop or pad the image, or use `p2p translate`, which does it for any size",
        )
    if bands != generator.config.input_bands:
        raise BundleError(
            f"The model reads {generator.config.input_bands} bands ({source.name}), the image has {bands}",
            remedy="Give it an image of the kind it was trained on",
        )
    device = next(generator.parameters()).device
    generated = []
    for start in range(0, len(pixels_NHWC), batch_size):
        network_NHWC = source.to_network(pixels_NHWC[start : start + batch_size])
        # permute of an NHWC array is channels-last already
        input_NCHW = torch.from_numpy(network_NHWC).to(device).permute(0, 3, 1, 2)
        output_NHWC = generator(input_NCHW).permute(0, 2, 3, 1).float().cpu().numpy()
        generated.append(target.to_pixels(output_NHWC))
    return np.concatenate(generated)


def centre_crop(pixels_NHWC: NDArray[np.uint8], multiple_px: int) -> NDArray[np.uint8]:
    """The largest centred part whose sides are multiples of `multiple_px`. Raises `BundleError` where there is none."""
    height, width = (size // multiple_px * multiple_px for size in pixels_NHWC.shape[1:3])
    if not height or not width:
        raise BundleError(
            f"Images of {pixels_NHWC.shape[1]}x{pixels_NHWC.shape[2]} px are smaller than the model's {multiple_px} px lattice",
            remedy="Build larger tiles or use a generator of less depth",
        )
    y, x = (pixels_NHWC.shape[1] - height) // 2, (pixels_NHWC.shape[2] - width) // 2
    return np.ascontiguousarray(pixels_NHWC[:, y : y + height, x : x + width])
