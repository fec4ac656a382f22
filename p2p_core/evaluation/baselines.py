"""What a model has to beat: the input itself, and the best per-pixel affine map of its colours. Both give pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import Encoding

__all__ = ["AffineColourMap", "identity"]

_FIT_PIXELS = 1_000_000


def identity(input_NHWC: NDArray[Any], source: Encoding, target: Encoding) -> NDArray[Any] | None:
    """The input as the answer: a photo to be coloured stays gray. None where it has other bands, another type, or is a picture
    where the target is measurements: that is no answer."""
    if target.completes_input:
        return source.to_rgb(input_NHWC)
    alike = (source.bands, source.dtype, source.is_picture) == (target.bands, target.dtype, target.is_picture)
    return input_NHWC if alike else None


@dataclass(frozen=True)
class AffineColourMap:
    """target = input @ matrix + offset per pixel, in grey levels, by least squares over the training split.

    Attributes:
        matrix: (input bands, target bands).
        offset: (target bands,), in grey levels.
        encodings: of input and target.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]
    encodings: tuple[Encoding, Encoding]

    @classmethod
    def fit(cls, input_NHWC: NDArray[Any], target_NHWC: NDArray[Any], source: Encoding, target: Encoding) -> Self:
        """Fit on every k-th pixel, k chosen so that about a million are used."""
        inputs = input_NHWC.reshape(-1, input_NHWC.shape[-1])
        targets = target_NHWC.reshape(-1, target_NHWC.shape[-1])
        every = max(1, len(inputs) // _FIT_PIXELS)
        inputs = source.to_grey_levels(inputs[::every]).astype(np.float64)
        targets = target.to_grey_levels(targets[::every]).astype(np.float64)
        design = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
        solution = np.linalg.lstsq(design, targets, rcond=None)[0]
        return cls(solution[:-1], solution[-1], (source, target))

    def __call__(self, input_NHWC: NDArray[Any]) -> NDArray[Any]:
        source, target = self.encodings
        return target.of_grey_levels(source.to_grey_levels(input_NHWC).astype(np.float64) @ self.matrix + self.offset)
