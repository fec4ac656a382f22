"""Pairs L -> ab from a directory of photos: colorization in Lab, as in the paper. Legend: H W pixels, C bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
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
    version = 2
    input_encoding = "lab_l"
    target_encoding = "lab_ab"

    def pair(self, source: PhotoSource, photo_HWC: NDArray[np.uint8], attributes: Mapping[str, str]) -> Outcome:
        if least_mean_chroma(photo_HWC) >= self.parameters.min_chroma:  # nearly always, in a tenth of the time
            return super().pair(source, photo_HWC, attributes)
        chroma = mean_chroma(photo_HWC)
        if chroma < self.parameters.min_chroma:
            detail = f"Its mean chroma is {chroma:.2f}, less than {self.parameters.min_chroma:g}"
            return Rejected(source.source_id, source.source_id, "colourless", detail, pictures=(photo_HWC,))
        return super().pair(source, photo_HWC, attributes)


_CHROMA_A_LEVEL = 1 / 6
"""No colour of sRGB has less chroma for each level between its highest and its lowest band: (0, 214, 255) has 0.1707."""


def least_mean_chroma(photo_HWC: NDArray[np.uint8]) -> float:
    """What `mean_chroma` is at least."""
    red_HW, green_HW, blue_HW = cv2.split(photo_HWC)
    spread_HW = cv2.subtract(cv2.max(cv2.max(red_HW, green_HW), blue_HW), cv2.min(cv2.min(red_HW, green_HW), blue_HW))
    return float(cv2.mean(spread_HW)[0]) * _CHROMA_A_LEVEL


def mean_chroma(photo_HWC: NDArray[np.uint8]) -> float:
    """The mean distance of an RGB picture's pixels from gray, in a*, b*."""
    return float(np.hypot(*np.moveaxis(lab_of_rgb(photo_HWC)[..., 1:], -1, 0)).mean())
