"""Pairs edges -> photo from a directory of photos: edges2shoes and its like. Legend: H W pixels, C bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import UsageError
from preprocessing.edges.detect import WeightsChoice, detector_for
from preprocessing.edges.drawing import EDGES_VERSION, EdgesConfig, edge_picture
from preprocessing.edges.weights import read_weights
from preprocessing.pairs import Outcome, Pair
from preprocessing.photo_builder import PhotoBuilder, PhotoSource
from preprocessing.sizing import PictureParameters

__all__ = ["EdgesBuilder", "EdgesParameters"]


class EdgesParameters(PictureParameters):
    """Edges are drawn of the photo at its scale in the pair, so both lie on the same pixels; no `edges.size_px` here."""

    edges: EdgesConfig = EdgesConfig()


@dataclass(frozen=True)
class EdgesBuilder(PhotoBuilder):
    """Builder of (edges, photo) pairs. `places`: the photos' directory, and a weights file if not the installed one."""

    parameters: EdgesParameters

    name = "edges"
    version = EDGES_VERSION
    input_encoding = "gray"
    target_encoding = "rgb"

    def __post_init__(self) -> None:
        if not 1 <= len(self.places) <= 2:
            raise UsageError(
                f"The builder edges takes a directory of photos and at most a weights file, not {len(self.places)} sources",
                remedy="Put the photos of one dataset under one directory",
            )
        if self.parameters.edges.size_px:
            raise UsageError("edges.size_px would part the edges from their photo", remedy="Set resize_px instead")

    @cached_property
    def detector_weights_sha256(self) -> str:
        """Raises as `read_weights`."""
        return read_weights(self.places[1] if len(self.places) == 2 else None).sha256

    def pair(self, source: PhotoSource, photo_HWC: NDArray[np.uint8], attributes: Mapping[str, str]) -> Outcome:
        choice = WeightsChoice(path=self.places[1]) if len(self.places) == 2 else WeightsChoice()
        config = self.parameters.edges
        probability_HW = detector_for(config.detector, choice).probability(photo_HWC)
        edges_HW1 = edge_picture(probability_HW, config)[..., np.newaxis]
        return Pair(source.source_id, source.source_id, edges_HW1, photo_HWC, attributes=attributes)
