"""Pairs from pictures in directories: two directories with the same names, or one whose pictures hold both, side by side.

Pictures are looked for in subdirectories too; where those are called train, val and test, `DirectorySplit` keeps that.
Legend: H W pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import RasterError, UsageError
from p2p_core.pairstore.layout import ROLES
from preprocessing.align import resize, resize_nearest
from preprocessing.chosen_encodings import PALETTE_VERSION, ChosenEncodings, EncodingChoice, named_palette, palette_name_of
from preprocessing.class_pictures import drawn_classes
from preprocessing.matching import find_pictures, match_pictures, pictures_in_order
from preprocessing.pairs import Outcome, Pair
from preprocessing.pictures import picture_size_px, read_halves, read_picture
from preprocessing.places import FilesSource, Places, require_two
from preprocessing.sizing import Fit, PairSize, PictureParameters, Placement, require_one_aspect, usual_size_px
from preprocessing.soft_colours import snap_soft

__all__ = ["FoldersBuilder", "FoldersParameters"]


class FoldersParameters(PictureParameters, EncodingChoice):
    """`layout`: `two` directories (inputs, targets), or one of pictures that hold both halves `side_by_side`.

    `input_side`: the half that is the input. `input_suffix`, `target_suffix`: how names end that are one apart from that: `_A`
    and `_B`; what ends otherwise takes no part. With the files' suffixes (`.jpg` and `.png`) both may lie in one directory,
    given twice. Sizes as `PictureParameters` says, but pictures keep their own, and are stretched
    where they have to be resized, unless told otherwise. Both halves keep or lose the same parts with `crop` and `pad`, so
    there one has to be the other at a scale.
    """

    resize_px: PairSize | None = None
    fit: Fit = "stretch"
    layout: Literal["two", "side_by_side"]
    input_side: Literal["left", "right"] = "left"
    input_suffix: str = ""
    target_suffix: str = ""


@dataclass(frozen=True)
class FoldersBuilder(ChosenEncodings):
    """Builder of pairs from one directory (side by side) or two (inputs, targets)."""

    directories: tuple[Path, ...]
    parameters: FoldersParameters

    name = "folders"
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        if not self._side_by_side:
            require_two("folders", self.directories, self._endings, "the inputs'", "the targets'")
        elif len(self.directories) != 1:
            raise UsageError(
                f"Layout 'side_by_side' takes 1 directory, not {len(self.directories)}",
                remedy="Give one directory, or two and layout=two",
            )
        if self._side_by_side and any(self._endings):
            raise UsageError("Pictures with both halves side by side have one name", remedy="Leave out the suffixes")

    @property
    def _side_by_side(self) -> bool:
        return self.parameters.layout == "side_by_side"

    @property
    def _endings(self) -> tuple[str, str]:
        return self.parameters.input_suffix, self.parameters.target_suffix

    @property
    def _named(self) -> Places:
        return Places(dict(zip(("pair",) if self._side_by_side else ROLES, self.directories, strict=True)))

    @property
    def version(self) -> int:
        return PALETTE_VERSION if self.names_palette else 1

    def size_px(self) -> tuple[int, int]:
        """Raises `EmptySourceError` where the size has to be looked up and no picture can be read."""
        return self.parameters.pair_px or self._usual_size_px

    def sources(self) -> Sequence[FilesSource]:
        """Raises as `PairBuilder.sources`, and `PairingError` where names do not match."""
        found = [find_pictures(place, ending) for place, ending in zip(self.directories, self._endings, strict=False)]
        matched = (
            {name: (path,) for name, path in found[0].by_name.items()}
            if self._side_by_side
            else match_pictures(found[0], found[1])
        )
        return [
            *self._named.sources(matched),
            *(
                self._named.unsupported(role, path, f"{path.suffix or 'No suffix'} is no picture's suffix")
                for role, pictures in zip(self._named.by_role, found, strict=True)
                for path in pictures.others
            ),
        ]

    def build(self, source: FilesSource) -> Iterator[Outcome]:
        if source.refused:
            yield source.refused
            return
        try:
            pair, placement = self._pair(source)
        except RasterError as error:
            yield self._named.rejected(source, source.source_id, error)
            return
        yield self.parameters.finished(pair, placement, (self.input_encoding, self.target_encoding))

    def _pair(self, source: FilesSource) -> tuple[Pair, Placement]:
        """Raises `RasterError` where a picture cannot be read or does not fit the others."""
        # Colours of a palette are snapped later, of the pair's own pixels, so that they can be counted.
        read_as = tuple("rgb" if encoding(n).is_palette else n for n in (self.input_encoding, self.target_encoding))
        if self._side_by_side:
            input_HWC, target_HWC = read_halves(source.paths[0], (read_as[0], read_as[1]), self.parameters.input_side)
        else:
            names = self.input_encoding, self.target_encoding
            input_HWC, target_HWC = (_read(*half) for half in zip(source.paths, names, strict=True))
        placement = self._placement(input_HWC.shape[:2], target_HWC.shape[:2])
        input_HWC, input_snapped = _shown(input_HWC, self.input_encoding, placement)
        target_HWC, target_snapped = _shown(target_HWC, self.target_encoding, placement)
        attributes = {"split": source.split} if source.split else {}
        if input_snapped is not None or target_snapped is not None:
            attributes["snapped_px"] = str((input_snapped or 0) + (target_snapped or 0))
        return Pair(source.source_id, source.source_id, input_HWC, target_HWC, attributes=attributes), placement

    def _placement(self, input_px: tuple[int, int], target_px: tuple[int, int]) -> Placement:
        """Raises `RasterError` where the two do not go together, or not with the other pairs."""
        pair_px, parameters = self.size_px(), self.parameters
        if not parameters.resize_px and input_px != target_px:
            parameters.placement(target_px, pair_px)  # where all have one size, says which
            raise _wrong_size(f"The input has {_text(input_px)} px and the target {_text(target_px)}; resize_px helps")
        if parameters.resize_px and parameters.fit != "stretch":
            require_one_aspect(("input", "the target"), input_px, target_px)
        return parameters.placement(input_px, pair_px)

    @cached_property
    def _usual_size_px(self) -> tuple[int, int]:
        return usual_size_px(pictures_in_order(self.directories[0], self._endings[0]), self._half_size_px)

    def _half_size_px(self, path: Path) -> tuple[int, int]:
        height_px, width_px = picture_size_px(path)
        return height_px, width_px // 2 if self._side_by_side else width_px


def _read(path: Path, encoding_name: str) -> NDArray[Any]:
    """A picture as its encoding has it, but for colours of a palette, which may still be soft. Raises `RasterError`."""
    own = palette_name_of(encoding_name)
    if own is None:
        return read_picture(path, encoding_name)
    drawn_HWC = drawn_classes(path, own)
    return read_picture(path, "rgb") if drawn_HWC is None else drawn_HWC


def _shown(pixels_HWC: NDArray[Any], encoding_name: str, placement: Placement) -> tuple[NDArray[Any], int | None]:
    """What the pair shows of a half; for a palette also snapped, and how many pixels that changed."""
    own = named_palette(encoding_name)
    if own is None:
        return placement.shown(pixels_HWC, resize), None
    drawn_HWC = placement.shown(pixels_HWC, resize_nearest)
    snapped_HWC = snap_soft(drawn_HWC, own)
    return snapped_HWC, int((snapped_HWC != drawn_HWC).any(axis=-1).sum())


def _text(size_px: tuple[int, int]) -> str:
    return f"{size_px[1]}x{size_px[0]}"


def _wrong_size(problem: str) -> RasterError:
    return RasterError(problem, remedy="Resize the pictures, or set resize_px", reason="size")
