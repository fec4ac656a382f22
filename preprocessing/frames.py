"""Pairs of frames from two directories of clips: two videos of one event, or a video and pictures drawn for its frames.

A clip is a video, or a directory of numbered pictures; its counterpart has its name. A clip is a source, so that a changed
clip is built again and no other; `SourceSplit` keeps its frames, nearly one picture, in one split.
Legend: H W pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, RasterError, UsageError
from p2p_core.pairstore.layout import ROLES
from p2p_core.rasters.registry import FILE_FORMATS
from preprocessing.align import resize_nearest
from preprocessing.chosen_encodings import PALETTE_VERSION, ChosenEncodings, EncodingChoice, named_palette, palette_name_of
from preprocessing.class_pictures import drawn_classes
from preprocessing.clip_pair import ClipPair, Couple, Note, Timing
from preprocessing.clips import ClipFrame, Pixels, clip_digest, find_clips
from preprocessing.frame_matching import Read
from preprocessing.matching import match_pictures
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.photos import read_photo, rgb_photo, shown_photo
from preprocessing.places import FilesSource, Places, require_two
from preprocessing.sizing import PairSize, PictureParameters, Placement, require_one_aspect
from preprocessing.soft_colours import snap_soft

__all__ = ["FramesBuilder", "FramesParameters"]


class FramesParameters(PictureParameters, Timing, EncodingChoice):
    """As `PictureParameters` and `Timing` say, and the encodings of both sides.

    `input_suffix`, `target_suffix`: how the names of clips end that are one apart from that: `_ir` and `_rgb`.
    """

    resize_px: PairSize = (256, 256)
    input_suffix: str = ""
    target_suffix: str = ""


@dataclass(frozen=True)
class FramesBuilder(ChosenEncodings):
    """Builder of pairs of frames. `places`: the input clips' directory, then the target clips'."""

    places: tuple[Path, ...]
    parameters: FramesParameters

    name = "frames"
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        wanted = self.parameters
        require_two("frames", self.places, (wanted.input_suffix, wanted.target_suffix), "the input clips'", "the target clips'")
        for name in (self.input_encoding, self.target_encoding):
            if not encoding(name).is_picture:
                raise ConfigError(
                    f"Frames are 8-bit pictures, which {name} is not",
                    remedy="Name rgb, gray, Lab or a palette; `p2p build folders` keeps the depth of pictures",
                )

    @property
    def version(self) -> int:
        return PALETTE_VERSION if self.names_palette else 1

    def size_px(self) -> tuple[int, int]:
        height_px, width_px = self.parameters.crop_px or self.parameters.resize_px
        return height_px + self.parameters.jitter_px, width_px + self.parameters.jitter_px

    def sources(self) -> Sequence[FilesSource]:
        """Raises as `PairBuilder.sources`, and `PairingError` where names or numbers do not match."""
        endings = self.parameters.input_suffix, self.parameters.target_suffix
        found = [find_clips(place, ending) for place, ending in zip(self.places, endings, strict=True)]
        matched = match_pictures(found[0], found[1], what="clips")
        self._require_times(list(matched.values()))
        return [
            *self._named.sources(matched, max_pairs=self._max_pairs, digest=clip_digest),
            *(
                self._named.unsupported(role, path, _no_clip(path))
                for role, clips in zip(ROLES, found, strict=True)
                for path in clips.others
            ),
        ]

    def build(self, source: FilesSource) -> Iterator[Outcome]:
        """A clip that breaks off gives its pairs up to there, and a rejection that says so."""
        if source.refused:
            yield source.refused
            return
        try:
            pair = self._opened(source)
            for note in pair.notes_before():
                yield _noted(source, note)
            for found in pair.couples():
                yield _noted(source, found) if isinstance(found, Note) else self._outcome(source, found)
            for note in pair.notes_after():
                yield _noted(source, note)
        except RasterError as error:
            yield self._named.rejected(source, source.source_id, error)

    def _opened(self, source: FilesSource) -> ClipPair:
        """Raises `RasterError` where a clip cannot be read, stands still, or shows another part of the scene than the other."""
        readers = [partial(_read, name) for name in (self.input_encoding, self.target_encoding)]
        pair = ClipPair(source.paths, self.parameters, readers)
        require_one_aspect(("input", "the target"), *(clip.size_px for clip in pair.clips))
        pair.refuse_still()
        return pair

    def _outcome(self, source: FilesSource, couple: Couple) -> Outcome:
        item = _pair_id(source, couple.input.frame, couple.target.frame)
        try:
            input_HWC, target_HWC = _pixels(couple.input), _pixels(couple.target)
            require_one_aspect(("input", "the target"), input_HWC.shape[:2], target_HWC.shape[:2])
        except RasterError as error:
            return self._named.rejected(source, item, error)
        placement = self.parameters.placement(input_HWC.shape[:2], self.size_px())
        input_HWC, input_snapped = _shown(input_HWC, self.input_encoding, placement)
        target_HWC, target_snapped = _shown(target_HWC, self.target_encoding, placement)
        attributes = {"input_frame": couple.input.frame.label, "target_frame": couple.target.frame.label}
        if couple.apart_ms is not None:
            attributes["apart_ms"] = f"{couple.apart_ms:.1f}"
        if source.split:
            attributes["split"] = source.split
        if input_snapped is not None or target_snapped is not None:
            attributes["snapped_px"] = str((input_snapped or 0) + (target_snapped or 0))
        pair = Pair(item, source.source_id, input_HWC, target_HWC, attributes=attributes)
        return self.parameters.finished(pair, placement, (self.input_encoding, self.target_encoding))

    def _require_times(self, matched: Sequence[tuple[Path, Path]]) -> None:
        timeless = next((clips for clips in matched if all(clip.is_dir() for clip in clips)), None)
        if timeless and self.parameters.every_s is not None and self.parameters.pictures_fps is None:
            raise UsageError(
                f"every_s asks for a pair every {self.parameters.every_s:g} s, and nothing tells the times of the pictures in"
                f" {timeless[0]} and {timeless[1]}",
                remedy="Set pictures_fps, or leave out every_s",
            )

    @property
    def _named(self) -> Places:
        return Places(dict(zip(ROLES, self.places, strict=True)))

    def _max_pairs(self, clips: tuple[Path, ...]) -> int:
        try:
            return ClipPair(clips, self.parameters).max_pairs
        except RasterError as error:
            if error.reason == "missing":
                raise
            return 0  # `build` will say why


def _no_clip(path: Path) -> str:
    if path.suffix.lower() in FILE_FORMATS:
        return "It has no number, or lies in no clip's directory"
    return f"{path.suffix or 'No suffix'} is no video's or picture's suffix"


def _pair_id(source: FilesSource, *frames: ClipFrame) -> str:
    """Clip and time, or clip and number where nothing tells the time. Ids ascend as frames do."""
    times_ms = [frame.time_ms for frame in frames if frame.time_ms is not None]
    place = f"{times_ms[0] / 1000:013.6f}s" if times_ms else f"f{frames[0].number:08d}"
    return f"{source.source_id}/{place}"


def _noted(source: FilesSource, note: Note) -> Rejected:
    item = _pair_id(source, note.frame) if note.frame else source.source_id
    return Rejected(source.source_id, item, note.reason, note.detail)


def _pixels(found: Read) -> Pixels:
    if isinstance(found.pixels, RasterError):
        raise found.pixels
    return found.pixels


def _read(encoding_name: str, path: Path) -> Pixels:
    """A numbered picture; one of class indices in the colours of the palette that the encoding names. Raises `RasterError`."""
    own = palette_name_of(encoding_name)
    drawn_HWC = None if own is None else drawn_classes(path, own)
    return read_photo(path) if drawn_HWC is None else drawn_HWC


def _shown(pixels_HWC: Pixels, encoding_name: str, placement: Placement) -> tuple[NDArray[np.uint8], int | None]:
    """What the pair shows of a frame; for a palette also how many pixels had another colour."""
    own = named_palette(encoding_name)
    if own is None:
        return encoding(encoding_name).of_rgb(shown_photo(pixels_HWC, placement)), None
    drawn_HWC = placement.shown(rgb_photo(pixels_HWC), resize_nearest)
    snapped_HWC = snap_soft(drawn_HWC, own)
    return snapped_HWC, int((snapped_HWC != drawn_HWC).any(axis=-1).sum())
