"""Pairs edges -> photo from a directory of photos: edges2shoes and its like. Legend: H W pixels, C bands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from p2p_core.config import Config
from p2p_core.errors import RasterError, UsageError
from p2p_core.files import sha256_json
from p2p_core.rasters.registry import source_digest
from preprocessing.align import resize
from preprocessing.edges.detect import WeightsChoice, detector_for
from preprocessing.edges.drawing import EDGES_VERSION, EdgesConfig, edge_picture
from preprocessing.edges.photos import read_photo, to_rgb
from preprocessing.edges.weights import read_weights
from preprocessing.matching import find_pictures
from preprocessing.pairs import Outcome, Pair, Rejected, SourceRef
from preprocessing.quality import QualityRule, first_with_digest
from preprocessing.split import directory_split, split_order

__all__ = ["EdgesBuilder", "EdgesParameters", "PhotoSource"]


class EdgesParameters(Config):
    """`resize_px`: (height, width) of every pair. `fit`: `crop` the middle of a photo of another aspect, or `stretch` it.

    The edges are those of the photo at that size, so that both lie on the same pixels; `edges.size_px` is not for pairs.
    """

    resize_px: tuple[PositiveInt, PositiveInt] = (256, 256)
    fit: Literal["crop", "stretch"] = "crop"
    edges: EdgesConfig = EdgesConfig()
    quality: QualityRule = QualityRule()


@dataclass(frozen=True)
class PhotoSource(SourceRef):
    """`twin`: an earlier photo of the same bytes. `split`: the directory among train, val and test it lies in."""

    path: Path
    split: str | None
    twin: str | None


@dataclass(frozen=True)
class EdgesBuilder:
    """Builder of (edges, photo) pairs. `places`: the photos' directory, and a weights file if not the installed one."""

    places: tuple[Path, ...]
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

    def size_px(self) -> tuple[int, int]:
        return self.parameters.resize_px

    def sources(self) -> Sequence[PhotoSource]:
        """Raises as `PairBuilder.sources`."""
        pictures = find_pictures(self.places[0])
        digests = {name: source_digest(path) for name, path in pictures.by_name.items()}
        order = sorted(digests, key=lambda name: (split_order(name), name))
        twins = first_with_digest([(name, digests[name]) for name in order])
        return [self._source(name, path, digests[name], twins.get(name)) for name, path in pictures.by_name.items()]

    def build(self, source: PhotoSource) -> Iterator[Outcome]:
        if source.twin:
            yield Rejected(source.source_id, source.source_id, "duplicate", f"It holds the same bytes as {source.twin}")
            return
        try:
            photo_HWC = self._fitted(read_photo(source.path))
        except RasterError as error:
            if error.reason == "missing":  # it was there when sources were listed: not a verdict to keep
                raise
            detail = error.problem.replace(f"{self.places[0]}/", "")
            yield Rejected(source.source_id, source.source_id, error.reason, detail)
            return
        choice = WeightsChoice(path=self.places[1]) if len(self.places) == 2 else WeightsChoice()
        config = self.parameters.edges
        probability_HW = detector_for(config.detector, choice).probability(photo_HWC)
        edges_HW1 = edge_picture(probability_HW, config)[..., np.newaxis]
        attributes = {"split": source.split} if source.split else {}
        yield self.parameters.quality.judge(
            Pair(source.source_id, source.source_id, edges_HW1, photo_HWC, attributes=attributes)
        )

    def _fitted(self, photo_HWC: NDArray[Any]) -> NDArray[np.uint8]:
        """RGB of the pairs' size. Edges are taken of these very pixels."""
        height_px, width_px = self.parameters.resize_px
        if self.parameters.fit == "crop":
            photo_HWC = _middle(photo_HWC, height_px / width_px)
        rgb_HWC: NDArray[np.float32] = np.rint(resize(to_rgb(photo_HWC), height_px, width_px))
        return np.clip(rgb_HWC, 0, 255).astype(np.uint8)

    def _source(self, name: str, path: Path, file_digest: str, twin: str | None) -> PhotoSource:
        file = f"photo/{path.relative_to(self.places[0]).as_posix()}"
        digest = sha256_json({"file": file_digest, "weights": self.detector_weights_sha256, "duplicate_of": twin})
        return PhotoSource(name, digest, 1, {file: file_digest}, path, directory_split(name), twin)


def _middle(photo_HWC: NDArray[Any], aspect: float) -> NDArray[Any]:
    """The largest part about the centre whose height is `aspect` times its width."""
    height_px, width_px = photo_HWC.shape[:2]
    kept_y, kept_x = min(height_px, max(1, round(width_px * aspect))), min(width_px, max(1, round(height_px / aspect)))
    top, left = (height_px - kept_y) // 2, (width_px - kept_x) // 2
    return photo_HWC[top : top + kept_y, left : left + kept_x]
