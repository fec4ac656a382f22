"""Pairs label picture -> photo, or the other way, from a directory of each. Legend: H W pixels, C bands.

Label pictures show classes in the colours of a palette, or hold class indices: as the levels of gray pictures, or as the
indices of PNGs with a palette of their own. Softened colours (JPEG) are snapped to the nearest of the palette, and counted.
Labels are resized by taking nearest pixels, so that no colour comes about that stands for no class.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.errors import RasterError, UsageError
from p2p_core.files import sha256_json
from p2p_core.palettes import PALETTES, Palette, palette
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster, source_digest
from preprocessing.align import resize_nearest
from preprocessing.matching import find_pictures, match_pictures
from preprocessing.pairs import Outcome, Pair, Rejected, SourceRef
from preprocessing.photos import read_photo, shown_photo
from preprocessing.pictures import to_encoding
from preprocessing.quality import twins
from preprocessing.sizing import PictureParameters, require_one_aspect, usual_size_px
from preprocessing.split import directory_split

__all__ = ["LabelSource", "LabelsBuilder", "LabelsParameters"]

_NEAR = 16  # levels a colour may be off in red, green and blue for JPEG's sake
_IGNORED = 255  # what label pictures by index call pixels of no class, in Cityscapes and elsewhere


class LabelsParameters(PictureParameters):
    """`palette`: a name of `PALETTES`, or colours: `000000-ff0000`. `direction`: what becomes what.

    `min_near`: a label picture of which a smaller share of pixels lies within 16 levels of the palette's colours shows a photo,
    or another palette. (pix2pix's facades, in JPEG, reach 0.49 at least; photos 0.40 at most, the median 0.2 and less.)
    `by_index`: gray label pictures, and PNGs with a palette of their own, hold class indices; False: they show colours.
    """

    palette: str = ""
    direction: Literal["labels_to_photo", "photo_to_labels"] = "labels_to_photo"
    by_index: bool = True
    min_near: float = Field(default=0.25, ge=0, le=1)


@dataclass(frozen=True)
class LabelSource(SourceRef):
    """`twin`: an earlier pair of the same bytes. `split`: the directory among train, val and test it lies in."""

    photo: Path
    labels: Path
    split: str | None
    twin: str | None


@dataclass(frozen=True)
class LabelsBuilder:
    """Builder of (labels, photo) pairs. `places`: the photos' directory, then that of label pictures with the same names."""

    places: tuple[Path, ...]
    parameters: LabelsParameters

    name = "labels"
    version = 1
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        if len(self.places) != 2 or self.places[0].resolve() == self.places[-1].resolve():
            raise UsageError(
                "The builder labels takes two directories", remedy="Give the photos' directory, then the label pictures'"
            )
        if not self.parameters.palette:
            raise UsageError(
                "The builder labels has to know the palette",
                remedy=f"Set palette to one of: {', '.join(PALETTES)}; or to its colours, class by class: 000000-ff0000",
            )
        self._palette  # noqa: B018  # an unknown one is refused now

    @property
    def _palette(self) -> Palette:
        return palette(self.parameters.palette)

    @property
    def _label_encoding(self) -> str:
        return f"one_hot:{self.parameters.palette}"

    @property
    def input_encoding(self) -> str:
        return self._label_encoding if self.parameters.direction == "labels_to_photo" else "rgb"

    @property
    def target_encoding(self) -> str:
        return "rgb" if self.parameters.direction == "labels_to_photo" else self._label_encoding

    def size_px(self) -> tuple[int, int]:
        """Raises `EmptySourceError` where photos keep their own size and none can be read."""
        return self.parameters.pair_px or self._usual_size_px

    @cached_property
    def _usual_size_px(self) -> tuple[int, int]:
        return usual_size_px(find_pictures(self.places[0]).by_name.values())

    def sources(self) -> Sequence[LabelSource]:
        """Raises as `PairBuilder.sources`, and `PairingError` where names do not match."""
        matched = match_pictures(*(find_pictures(place) for place in self.places))
        files = {name: self._files(paths) for name, paths in matched.items()}
        twin_of = twins({name: sha256_json(list(digests.values())) for name, digests in files.items()})
        return [self._source(name, paths, files[name], twin_of.get(name)) for name, paths in matched.items()]

    def build(self, source: LabelSource) -> Iterator[Outcome]:
        if source.twin:
            yield Rejected(
                source.source_id,
                source.source_id,
                "duplicate",
                f"It holds the same bytes as {source.twin}",
                seen_in=(source.photo, source.labels),
            )
            return
        try:
            photo_HWC, raw_HWC = read_photo(source.photo), self._read_labels(source.labels)
            require_one_aspect(("photo", "its labels"), photo_HWC.shape[:2], raw_HWC.shape[:2])
            placement = self.parameters.placement(photo_HWC.shape[:2], self.size_px())
            labels_HWC, num_snapped = self._in_colours(placement.shown(raw_HWC, resize_nearest))
        except RasterError as error:
            if error.reason == "missing":  # it was there when sources were listed: not a verdict to keep
                raise
            yield Rejected(
                source.source_id,
                source.source_id,
                error.reason,
                self._without_place(error.problem),
                seen_in=(source.photo, source.labels),
            )
            return
        attributes = {"snapped_px": str(num_snapped)} | ({"split": source.split} if source.split else {})
        halves = labels_HWC, shown_photo(photo_HWC, placement)
        if self.parameters.direction == "photo_to_labels":
            halves = halves[::-1]
        pair = Pair(source.source_id, source.source_id, *halves, attributes=attributes)
        yield self.parameters.finished(pair, placement, (self.input_encoding, self.target_encoding))

    def _in_colours(self, raw_HWC: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """Class indices or colours -> (H, W, 3) in the palette's colours, and how many pixels had another colour before."""
        if raw_HWC.shape[-1] == 1:
            return self._palette.colours_of(raw_HWC[..., 0]), 0
        labels_HWC = self._palette.snap(raw_HWC)
        levels_HW = np.abs(labels_HWC.astype(np.int16) - raw_HWC).max(axis=-1)
        self._require_palette(float((levels_HW <= _NEAR).mean()))
        return labels_HWC, int((levels_HW > 0).sum())

    def _require_palette(self, near: float) -> None:
        if near < self.parameters.min_near:
            raise RasterError(
                f"Only {near:.0%} of its pixels have nearly a colour of palette {self.parameters.palette}",
                remedy="Give the photos' directory first, name the right palette, or lower min_near",
                reason="palette",
            )

    def _read_labels(self, path: Path) -> NDArray[np.uint8]:
        """(H, W, 1) class indices or (H, W, 3) colours. Raises `RasterError` where the file holds neither."""
        with open_raster(path) as raster:
            if isinstance(raster, ImageRaster) and self.parameters.by_index:
                indices_HW = raster.read_indices()
                if indices_HW is not None:
                    return self._checked(indices_HW)[..., np.newaxis]
            if raster.dtype != np.uint8:
                raise RasterError(f"{path} has pixels of {raster.dtype}", remedy="Give 8-bit labels", reason="unsupported")
            pixels_HWC = raster.read(full_window(raster))
        if raster.bands == 1 and self.parameters.by_index:
            return self._checked(pixels_HWC)
        return to_encoding(pixels_HWC, "rgb", str(path))

    def _checked(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Raises `RasterError` for an index that is no class; 255 is void where the palette has such a class."""
        names = self._palette.names
        if self._palette.void is not None:
            indices = np.where(indices == _IGNORED, self._palette.void, indices).astype(np.uint8)
        highest = int(indices.max())
        if highest >= len(names):
            raise RasterError(
                f"It holds class {highest}; palette {self.parameters.palette} has classes 0 to {len(names) - 1}",
                remedy="Name another palette, or set by_index to false",
                reason="class",
            )
        return indices

    def _files(self, paths: tuple[Path, Path]) -> dict[str, str]:
        """Name in the table of sources -> digest."""
        return {
            f"{role}/{path.relative_to(place).as_posix()}": source_digest(path)
            for role, path, place in zip(("photo", "labels"), paths, self.places, strict=True)
        }

    def _source(self, name: str, paths: tuple[Path, Path], files: Mapping[str, str], twin: str | None) -> LabelSource:
        digest = sha256_json({"files": dict(files), "duplicate_of": twin})
        return LabelSource(name, digest, 1, files, *paths, directory_split(name), twin)

    def _without_place(self, text: str) -> str:
        for role, place in zip(("photo", "labels"), self.places, strict=True):
            text = text.replace(f"{place}/", f"{role}/")
        return text
