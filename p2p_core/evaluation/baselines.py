"""What a model has to beat: the input itself, and the best per-pixel affine map of its colours. All in pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import Encoding

__all__ = ["AffineColourMap", "identity"]

_FIT_PIXELS = 1_000_000


def identity(input_NHWC: NDArray[np.uint8], source: Encoding, target: Encoding) -> NDArray[np.uint8] | None:
    """The input as the answer: a photo to be coloured stays gray. None where it has other bands and so is no answer."""
    if target.completes_input:
        return source.to_rgb(input_NHWC)
    return input_NHWC if source.bands == target.bands else None


@dataclass(frozen=True)
class AffineColourMap:
    """target = input @ matrix + offset per pixel, by least squares over the training split.

    Attributes:
        matrix: (input bands, target bands).
        offset: (target bands,), in grey levels.
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    @classmethod
    def fit(cls, input_NHWC: NDArray[np.uint8], target_NHWC: NDArray[np.uint8]) -> Self:
        """Fit on every k-th pixel, k chosen so that about a million are used."""
        inputs = input_NHWC.reshape(-1, input_NHWC.shape[-1])
        targets = target_NHWC.reshape(-1, target_NHWC.shape[-1])
        every = max(1, len(inputs) // _FIT_PIXELS)
        inputs, targets = inputs[::every].astype(np.float64), targets[::every].astype(np.float64)
        design = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
        solution = np.linalg.lstsq(design, targets, rcond=None)[0]
        return cls(solution[:-1], solution[-1])

    def __call__(self, input_NHWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        mapped = input_NHWC.astype(np.float64) @ self.matrix + self.offset
        return np.clip(np.rint(mapped), 0, 255).astype(np.uint8)
