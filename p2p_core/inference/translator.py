"""A bundle ready to translate batches of one canonical shape."""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray

from p2p_core.errors import BundleError
from p2p_core.inference.bundle import ModelBundle
from p2p_core.inference.forward import forward_pixels
from p2p_core.model.device import usable_device
from p2p_core.model.norm import NormMode, set_norm_mode

__all__ = ["Translator"]


class Translator:
    """Translate images with a bundle.

    Args:
        norm: which statistics to use; the bundle's own unless given.
        device: of this process; see `usable_device`.
        threads: threads of this process for one forward pass; on a CPU their number changes no bit (measured, spec).
    """

    engine = "torch-fp32"

    def __init__(
        self, bundle: ModelBundle, *, norm: NormMode | None = None, device: str = "cpu", threads: int | None = None
    ) -> None:
        self.bundle = bundle
        self.norm: NormMode = norm or bundle.spec.norm
        self._generator = bundle.generator.to(usable_device(device)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        set_norm_mode(self._generator, self.norm)
        if threads is not None:
            torch.set_num_threads(threads)

    def translate(self, pixels_NHWC: NDArray[Any], batch_size: int = 1) -> NDArray[Any]:
        """(N, H, W, C) -> (N, H, W, target bands), each of its encoding's dtype; H and W multiples of the lattice.

        Pictures of another kind are brought to the model's, so a photo may come in gray or in colour: gray is repeated for
        `rgb`; colours become luminance (Rec. 601) for `gray` and the gray of the same L* for `lab_l`; for a palette, each
        pixel becomes the nearest of its colours.

        Raises:
            BundleError: sides or bands do not fit the model.
        """
        source, target = self.bundle.input_encoding, self.bundle.target_encoding
        if pixels_NHWC.shape[-1] not in source.takes:
            raise BundleError(
                f"The model reads {source.bands} bands ({source.name}), the image has {pixels_NHWC.shape[-1]}",
                remedy=f"Give it images of {' or '.join(map(str, source.takes))} bands, of the kind it was trained on",
            )
        return forward_pixels(self._generator, source.of_picture(pixels_NHWC), source, target, batch_size)
