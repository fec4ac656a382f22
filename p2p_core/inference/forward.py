"""Pixels in, pixels out: the one place where a generator meets images. N images, H W pixels, C bands or channels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2p_core.encodings import Encoding
from p2p_core.errors import BundleError
from p2p_core.model.generator import Generator

__all__ = ["centre_crop", "forward_pixels"]


@torch.inference_mode()
def forward_pixels(
    generator: Generator, pixels_NHWC: NDArray[Any], source: Encoding, target: Encoding, batch_size: int = 1
) -> NDArray[Any]:
    """Translate images of the encoding `source`, (N, H, W, bands) of its dtype, to `target`'s. The generator is in `eval()`.

    Sides are multiples of the generator's lattice, and not below its smallest.

    On a CPU the result of an image does not depend on `batch_size` or on its neighbours (measured, spec section 1).

    Raises:
        BundleError: sides, bands, dtype or the encodings' channels do not fit the generator.
    """
    height, width, bands = pixels_NHWC.shape[1:]
    lattice_px, smallest_px = generator.config.lattice_px, generator.config.smallest_px
    if height % lattice_px or width % lattice_px or min(height, width) < smallest_px:
        at_least = f" and at least {smallest_px} px" if smallest_px > lattice_px else ""
        raise BundleError(
            f"The model translates images whose sides are multiples of {lattice_px} px{at_least}, not {height}x{width}",
            remedy="Crop or pad the image, or use `p2p translate`, which does it for any size",
        )
    if (bands, pixels_NHWC.dtype) != (source.bands, source.dtype):
        raise BundleError(
            f"The model reads {source.bands} bands of {source.dtype} ({source.name}), the image has {bands} of "
            f"{pixels_NHWC.dtype}",
            remedy="Give it an image of the kind it was trained on",
        )
    has, needed = (generator.config.input_bands, generator.config.output_bands), (source.channels, target.channels)
    if has != needed:
        raise BundleError(
            f"The generator turns {has[0]} into {has[1]} channels; {source.name} has {needed[0]}, {target.name} {needed[1]}",
            remedy="Correct the encodings it is used with",
        )
    device = next(generator.parameters()).device
    generated = []
    for start in range(0, len(pixels_NHWC), batch_size):
        batch_NHWC = pixels_NHWC[start : start + batch_size]
        network_NHWC = source.to_network(batch_NHWC)
        # permute of an NHWC array is channels-last already
        input_NCHW = torch.from_numpy(network_NHWC).to(device).permute(0, 3, 1, 2)
        output_NHWC = generator(input_NCHW).permute(0, 2, 3, 1).float().cpu().numpy()
        generated.append(target.to_pixels(output_NHWC, batch_NHWC, source))
    return np.concatenate(generated)


def centre_crop(pixels_NHWC: NDArray[Any], multiple_px: int) -> NDArray[Any]:
    """The largest centred part whose sides are multiples of `multiple_px`. Raises `BundleError` where there is none."""
    height, width = (size // multiple_px * multiple_px for size in pixels_NHWC.shape[1:3])
    if not height or not width:
        raise BundleError(
            f"Images of {pixels_NHWC.shape[1]}x{pixels_NHWC.shape[2]} px are smaller than the model's {multiple_px} px lattice",
            remedy="Build larger tiles or use a generator of less depth",
        )
    y, x = (pixels_NHWC.shape[1] - height) // 2, (pixels_NHWC.shape[2] - width) // 2
    return np.ascontiguousarray(pixels_NHWC[:, y : y + height, x : x + width])
