"""Pairs L -> ab from a directory of photos: colorization in Lab, as in the paper. Legend: H W pixels, C bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.lab import lab_of_rgb
from preprocessing.pairs import Outcome, Rejected
from preprocessing.photo_builder import PhotoSource, RecolouringBuilder
from preprocessing.sizing import PictureParameters

__all__ = ["ColourBuilder", "ColourParameters"]


class ColourParameters(PictureParameters):
    """`min_chroma`: a photo whose mean distance from gray in a*, b* is less is colourless: it would teach to leave all gray."""

    min_chroma: float = Field(default=1.0, ge=0)


@dataclass(frozen=True)
class ColourBuilder(RecolouringBuilder):
    """Builder of (gray of the same L*, photo) pairs, which networks see as L* and as a*, b*."""

    parameters: ColourParameters

    name = "colour"
    input_encoding = "lab_l"
    target_encoding = "lab_ab"

    def pair(self, source: PhotoSource, photo_HWC: NDArray[np.uint8], attributes: Mapping[str, str]) -> Outcome:
        # A quarter of the pixels is a quarter of the time, and nearly always enough: the others have no less than none.
        if mean_chroma(photo_HWC[::2, ::2]) / 4 >= self.parameters.min_chroma:
            return super().pair(source, photo_HWC, attributes)
        chroma = mean_chroma(photo_HWC)
        if chroma < self.parameters.min_chroma:
            detail = f"Its mean chroma is {chroma:.2f}, less than {self.parameters.min_chroma:g}"
            return Rejected(source.source_id, source.source_id, "colourless", detail, pictures=(photo_HWC,))
        return super().pair(source, photo_HWC, attributes)


def mean_chroma(photo_HWC: NDArray[np.uint8]) -> float:
    """The mean distance of an RGB picture's pixels from gray, in a*, b*."""
    return float(np.hypot(*np.moveaxis(lab_of_rgb(photo_HWC)[..., 1:], -1, 0)).mean())
