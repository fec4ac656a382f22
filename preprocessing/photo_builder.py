"""What the builders have in common that make each pair of one photo. Legend: H W pixels, C bands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import RasterError, UsageError
from p2p_core.files import place_in, sha256_json
from p2p_core.rasters.protocol import Raster
from p2p_core.rasters.registry import source_digest
from preprocessing.matching import find_pictures, pictures_in_order
from preprocessing.pairs import OneFile, Outcome, Pair, Rejected, SourceRef
from preprocessing.photos import open_photo, shown_photo
from preprocessing.quality import twins
from preprocessing.sizing import PictureParameters, Placement, usual_size_px
from preprocessing.split import directory_split

__all__ = ["OneDirectoryBuilder", "PhotoBuilder", "PhotoSource", "RecolouringBuilder"]


@dataclass(frozen=True, slots=True)
class PhotoSource(SourceRef):
    """`place`: the file, below the directory of photos; as text, for a `Path` takes four times the memory.

    `twin`: an earlier photo of the same bytes. `split`: the directory among train, val and test it lies in.
    """

    place: str
    split: str | None
    twin: str | None


@dataclass(frozen=True)
class PhotoBuilder(ABC):
    """Builder of pairs from the photos under the directory `places[0]`, one pair a photo."""

    places: tuple[Path, ...]
    parameters: PictureParameters

    name: ClassVar[str]
    version: ClassVar[int]
    input_encoding: ClassVar[str]
    target_encoding: ClassVar[str]

    @abstractmethod
    def pair(self, source: PhotoSource, photo_HWC: NDArray[np.uint8], attributes: Mapping[str, str]) -> Outcome:
        """The pair of what is shown of a photo. Its judgement by `parameters.quality` and its padding follow."""

    def shown(self, photo: Raster, placement: Placement, /) -> NDArray[np.uint8]:
        """What `pair` is made of. `photo`: as `open_photo` gives it."""
        return shown_photo(photo, placement)

    @property
    def detector_weights_sha256(self) -> str | None:
        return None

    def size_px(self) -> tuple[int, int]:
        """Raises `EmptySourceError` where photos keep their own size and none can be read."""
        return self.parameters.pair_px or self._usual_size_px

    @cached_property
    def _usual_size_px(self) -> tuple[int, int]:
        return usual_size_px(pictures_in_order(self.places[0]))

    def sources(self) -> Sequence[PhotoSource]:
        """Raises as `PairBuilder.sources`."""
        pictures = find_pictures(self.places[0])
        digests = {name: source_digest(path) for name, path in pictures.by_name.items()}
        twin_of = twins(digests)
        return [self._source(name, path, digests[name], twin_of.get(name)) for name, path in pictures.by_name.items()]

    def build(self, source: PhotoSource) -> Iterator[Outcome]:
        path = self.places[0] / source.place
        if source.twin:
            yield Rejected(
                source.source_id,
                source.source_id,
                "duplicate",
                f"It holds the same bytes as {source.twin}",
                seen_in=(path,),
            )
            return
        try:
            with open_photo(path) as photo:
                placement = self.parameters.placement((photo.height_px, photo.width_px), self.size_px())
                shown_HWC = self.shown(photo, placement)
        except RasterError as error:
            if error.reason == "missing":  # it was there when sources were listed: not a verdict to keep
                raise
            detail = error.problem.replace(f"{self.places[0]}/", "")
            yield Rejected(source.source_id, source.source_id, error.reason, detail, seen_in=(path,))
            return
        outcome = self.pair(source, shown_HWC, {"split": source.split} if source.split else {})
        encodings = self.input_encoding, self.target_encoding
        yield self.parameters.finished(outcome, placement, encodings) if isinstance(outcome, Pair) else outcome

    def _source(self, name: str, path: Path, file_digest: str, twin: str | None) -> PhotoSource:
        file = OneFile("photo", place_in(self.places[0], path), file_digest)
        known = {"file": file_digest, "duplicate_of": twin}
        if self.detector_weights_sha256:
            known["weights"] = self.detector_weights_sha256
        return PhotoSource(name, sha256_json(known), 1, file, file.place, directory_split(name), twin)


@dataclass(frozen=True)
class OneDirectoryBuilder(PhotoBuilder):
    """One that needs nothing but the photos."""

    def __post_init__(self) -> None:
        if len(self.places) != 1:
            raise UsageError(
                f"The builder {self.name} takes one directory of photos, not {len(self.places)}",
                remedy="Put the photos of one dataset under one directory",
            )


@dataclass(frozen=True)
class RecolouringBuilder(OneDirectoryBuilder):
    """The photo as its input encoding has it -> the photo as its target encoding has it."""

    version = 1

    def pair(self, source: PhotoSource, photo_HWC: NDArray[np.uint8], attributes: Mapping[str, str]) -> Outcome:
        input_HWC, target_HWC = (encoding(name).of_rgb(photo_HWC) for name in (self.input_encoding, self.target_encoding))
        return Pair(source.source_id, source.source_id, input_HWC, target_HWC, attributes=attributes)
