"""Pairs label picture -> photo, or the other way, from a directory of each. Legend: H W pixels, C bands.

Label pictures show classes in the colours of a palette, or hold class indices: as the levels of gray pictures, or as the
indices of PNGs with a palette of their own. Softened colours (JPEG) are snapped to the palette's (`soft_colours`), and counted.
Colours in which a data set draws finer classes than the palette's count as the class they belong to (`palettes.OTHER_COLOURS`).
Labels are resized by taking nearest pixels, so that no colour comes about that stands for no class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from p2p_core.errors import RasterError, UsageError
from p2p_core.palettes import LABEL_IDS, PALETTES, Palette, in_own_colours, palette
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster
from preprocessing.align import resize_nearest
from preprocessing.class_pictures import classes_of_indices
from preprocessing.matching import find_pictures, match_pictures, pictures_in_order
from preprocessing.pairs import Outcome, Pair
from preprocessing.photos import read_photo, shown_photo
from preprocessing.pictures import to_encoding
from preprocessing.places import FilesSource, Places, require_two
from preprocessing.sizing import PictureParameters, require_one_aspect, usual_size_px
from preprocessing.soft_colours import NEAR_LEVELS, snap_soft

__all__ = ["LabelsBuilder", "LabelsParameters"]


class LabelsParameters(PictureParameters):
    """`palette`: a name of `PALETTES`, or colours: `000000-ff0000`. `direction`: what becomes what.

    `min_near`: a label picture of which a smaller share of pixels lies within 16 levels of the palette's colours shows a photo,
    or another palette. (pix2pix's facades, in JPEG, reach 0.49 at least; photos 0.40 at most, the median 0.2 and less.)
    `by_index`: gray label pictures, and PNGs with a palette of their own, hold class indices; False: they show colours.
    `ids`: what these indices count: the palette's `classes`, or the data set's own `labelIds` (`palettes.LABEL_IDS`); unless
    given, labelIds in files whose name ends so, as Cityscapes' do, and classes in all others (its labelTrainIds, say).
    `photo_suffix`, `label_suffix`: how names end that are one apart from that: `_leftImg8bit` and `_gtFine_color`. What ends
    otherwise takes no part. With the files' suffixes (`.jpg` and `.png`) both may lie in one directory, given twice.
    """

    palette: str = ""
    direction: Literal["labels_to_photo", "photo_to_labels"] = "labels_to_photo"
    by_index: bool = True
    min_near: float = Field(default=0.25, ge=0, le=1)
    ids: Literal["by_name", "classes", "labelIds"] = "by_name"
    photo_suffix: str = ""
    label_suffix: str = ""


@dataclass(frozen=True)
class LabelsBuilder:
    """Builder of (labels, photo) pairs. `places`: the photos' directory, then that of label pictures with the same names."""

    places: tuple[Path, ...]
    parameters: LabelsParameters

    name = "labels"
    version = 2
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        wanted = self.parameters
        require_two("labels", self.places, (wanted.photo_suffix, wanted.label_suffix), "the photos'", "the label pictures'")
        if not self.parameters.palette:
            raise UsageError(
                "The builder labels has to know the palette",
                remedy=f"Set palette to one of: {', '.join(PALETTES)}; or to its colours, class by class: 000000-ff0000",
            )
        self._palette  # noqa: B018  # an unknown one is refused now
        if self.parameters.ids == "labelIds" and self.parameters.palette not in LABEL_IDS:
            raise UsageError(
                f"Palette {self.parameters.palette} has no labelIds of its own",
                remedy=f"Leave ids out, or use one of the palettes {', '.join(LABEL_IDS)}",
            )

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
        return usual_size_px(pictures_in_order(self.places[0], self.parameters.photo_suffix))

    def sources(self) -> Sequence[FilesSource]:
        """Raises as `PairBuilder.sources`, and `PairingError` where names do not match."""
        endings = self.parameters.photo_suffix, self.parameters.label_suffix
        found = [find_pictures(place, ending) for place, ending in zip(self.places, endings, strict=True)]
        return self._named.sources(match_pictures(found[0], found[1], options=("photo_suffix", "label_suffix")))

    def build(self, source: FilesSource) -> Iterator[Outcome]:
        if source.refused:
            yield source.refused
            return
        photo_path, labels_path = source.paths
        try:
            photo_HWC, raw_HWC = read_photo(photo_path), self._read_labels(labels_path)
            require_one_aspect(("photo", "its labels"), photo_HWC.shape[:2], raw_HWC.shape[:2])
            placement = self.parameters.placement(photo_HWC.shape[:2], self.size_px())
            labels_HWC, num_snapped = self._in_colours(placement.shown(raw_HWC, resize_nearest))
        except RasterError as error:
            yield self._named.rejected(source, source.source_id, error)
            return
        attributes = {"snapped_px": str(num_snapped)} | ({"split": source.split} if source.split else {})
        halves = labels_HWC, shown_photo(photo_HWC, placement)
        if self.parameters.direction == "photo_to_labels":
            halves = halves[::-1]
        pair = Pair(source.source_id, source.source_id, *halves, attributes=attributes)
        yield self.parameters.finished(pair, placement, (self.input_encoding, self.target_encoding))

    @property
    def _named(self) -> Places:
        return Places(dict(zip(("photo", "labels"), self.places, strict=True)))

    def _in_colours(self, raw_HWC: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int]:
        """Class indices or colours -> (H, W, 3) in the palette's colours, and how many pixels had another colour before."""
        if raw_HWC.shape[-1] == 1:
            return self._palette.colours_of(raw_HWC[..., 0]), 0
        raw_HWC = in_own_colours(raw_HWC, self.parameters.palette)
        labels_HWC = snap_soft(raw_HWC, self._palette)
        levels_HW = np.abs(labels_HWC.astype(np.int16) - raw_HWC).max(axis=-1)
        self._require_palette(float((levels_HW <= NEAR_LEVELS).mean()))
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
                    return self._classes(indices_HW, path)[..., np.newaxis]
            if raster.dtype != np.uint8:
                raise RasterError(f"{path} has pixels of {raster.dtype}", remedy="Give 8-bit labels", reason="unsupported")
            pixels_HWC = raster.read(full_window(raster))
        if raster.bands == 1 and self.parameters.by_index:
            return self._classes(pixels_HWC, path)
        return to_encoding(pixels_HWC, "rgb", str(path))

    def _classes(self, indices: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        """Raises as `classes_of_indices`."""
        ids = self.parameters.ids
        label_ids = ids == "labelIds" or (ids == "by_name" and path.stem.endswith("labelIds"))
        return classes_of_indices(indices, self.parameters.palette, label_ids=label_ids)
