"""Edge pictures: from a photo's edge probabilities to what is written and trained on. Legend: H W pixels."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from p2p_core.config import Config
from p2p_core.files import sha256_json
from preprocessing.edges.detect import DetectorConfig
from preprocessing.edges.thinning import ThinningConfig, ridges, trace

__all__ = ["EDGES_VERSION", "EdgesConfig", "edge_picture", "edges_key"]

EDGES_VERSION = 1
"""To be raised when a change of code changes a pixel, so that nothing old is taken for new."""


class EdgesConfig(Config):
    """Everything that shapes an edge picture, but for the weights.

    Attributes:
        output: `lines` one pixel wide, as the paper's edges2shoes; `strength`, the same lines as dark as they are probable;
            `probability`, before any thinning.
        background: `white` with black edges, as the paper's; or `black` with white edges.
        size_px: (height, width) the probabilities are brought to, by cubic interpolation, before they are thinned.
    """

    output: Literal["lines", "strength", "probability"] = "lines"
    background: Literal["white", "black"] = "white"
    size_px: tuple[PositiveInt, PositiveInt] | None = None
    detector: DetectorConfig = DetectorConfig()
    thinning: ThinningConfig = ThinningConfig()


def edge_picture(probability_HW: NDArray[np.float32], config: EdgesConfig) -> NDArray[np.uint8]:
    """(H, W) probabilities -> (H, W) gray picture, of `config.size_px` if that is set."""
    if config.size_px and config.size_px != probability_HW.shape:
        height_px, width_px = config.size_px
        resized_HW = cv2.resize(probability_HW, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
        probability_HW = np.clip(resized_HW, 0, 1)  # cubic interpolation overshoots
    ink_HW = _ink(probability_HW, config)
    return ink_HW if config.background == "black" else np.subtract(255, ink_HW, dtype=np.uint8)


def edges_key(config: EdgesConfig, weights_sha256: str) -> str:
    """A digest of all that a photo's edge picture depends on besides the photo."""
    return sha256_json({"version": EDGES_VERSION, "config": config.model_dump(mode="json"), "weights": weights_sha256})


def _ink(probability_HW: NDArray[np.float32], config: EdgesConfig) -> NDArray[np.uint8]:
    """255 is the surest edge."""
    if config.output == "probability":
        return _bytes(probability_HW)
    ridges_HW = ridges(probability_HW, config.thinning)
    lines_HW = trace(ridges_HW, config.thinning)
    return _bytes(ridges_HW * lines_HW) if config.output == "strength" else lines_HW * np.uint8(255)


def _bytes(values_HW: NDArray[np.float32]) -> NDArray[np.uint8]:
    scaled_HW: NDArray[np.float32] = np.rint(values_HW * np.float32(255))
    return scaled_HW.astype(np.uint8)
