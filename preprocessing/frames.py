"""Pairs of frames from two directories of clips: two videos of one event, or a video and pictures drawn for its frames.

A clip is a video, or a directory of numbered pictures; its counterpart has its name. A clip is a source, so that a changed
clip is built again and no other; `SourceSplit` keeps its frames, nearly one picture, in one split.
Legend: H W pixels, C bands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, RasterError, UsageError
from p2p_core.files import sha256_json
from p2p_core.pairstore.layout import ROLES
from p2p_core.rasters.registry import FILE_FORMATS, source_digest
from preprocessing.align import resize_nearest
from preprocessing.clip_pair import ClipPair, Couple, Note, Timing
from preprocessing.clips import ClipFrame, Pixels, clip_digest, find_clips
from preprocessing.frame_matching import Read
from preprocessing.matching import Pictures, match_pictures
from preprocessing.pairs import Outcome, Pair, Rejected, SourceRef
from preprocessing.photos import rgb_photo, shown_photo
from preprocessing.quality import twins
from preprocessing.sizing import PictureParameters, Placement, require_one_aspect
from preprocessing.split import directory_split

__all__ = ["FramesBuilder", "FramesParameters", "FramesSource"]


class FramesParameters(PictureParameters, Timing):
    """As `PictureParameters` and `Timing` say, and the encodings of both sides."""

    resize_px: tuple[PositiveInt, PositiveInt] = (256, 256)
    input_encoding: str = "rgb"
    target_encoding: str = "rgb"


@dataclass(frozen=True)
class FramesSource(SourceRef):
    """`clips`: the input's and the target's, each a video or a directory. `refused`: why they are not looked into."""

    clips: tuple[Path, ...]
    split: str | None
    refused: Rejected | None


@dataclass(frozen=True)
class FramesBuilder:
    """Builder of pairs of frames. `places`: the input clips' directory, then the target clips'."""

    places: tuple[Path, ...]
    parameters: FramesParameters

    name = "frames"
    version = 1
    detector_weights_sha256 = None

    def __post_init__(self) -> None:
        if len(self.places) != 2 or self.places[0].resolve() == self.places[-1].resolve():
            raise UsageError(
                "The builder frames takes two directories", remedy="Give the input clips' directory, then the target clips'"
            )
        for name in (self.input_encoding, self.target_encoding):
            if not encoding(name).is_picture:
                raise ConfigError(
                    f"Frames are 8-bit pictures, which {name} is not",
                    remedy="Name rgb, gray, Lab or a palette; `p2p build folders` keeps the depth of pictures",
                )

    @property
    def input_encoding(self) -> str:
        return self.parameters.input_encoding

    @property
    def target_encoding(self) -> str:
        return self.parameters.target_encoding

    def size_px(self) -> tuple[int, int]:
        height_px, width_px = self.parameters.crop_px or self.parameters.resize_px
        return height_px + self.parameters.jitter_px, width_px + self.parameters.jitter_px

    def sources(self) -> Sequence[FramesSource]:
        """Raises as `PairBuilder.sources`, and `PairingError` where names or numbers do not match."""
        found = [find_clips(place) for place in self.places]
        matched = match_pictures(found[0], found[1], what="clips")
        self._require_times(list(matched.values()))
        files = {name: self._files(clips) for name, clips in matched.items()}
        twin_of = twins({name: sha256_json(list(digests.values())) for name, digests in files.items()})
        pairs = [self._source(name, clips, files[name], twin_of.get(name)) for name, clips in matched.items()]
        return [
            *pairs,
            *(self._unsupported(role, path, clips) for role, clips in zip(ROLES, found, strict=True) for path in clips.others),
        ]

    def build(self, source: FramesSource) -> Iterator[Outcome]:
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
            if error.reason == "missing":  # it was there when sources were listed: not a verdict to keep
                raise
            yield self._rejected(source, source.source_id, error)

    def _opened(self, source: FramesSource) -> ClipPair:
        """Raises `RasterError` where a clip cannot be read, stands still, or shows another part of the scene than the other."""
        pair = ClipPair(source.clips, self.parameters)
        require_one_aspect(("input", "the target"), *(clip.size_px for clip in pair.clips))
        pair.refuse_still()
        return pair

    def _outcome(self, source: FramesSource, couple: Couple) -> Outcome:
        item = _pair_id(source, couple.input.frame, couple.target.frame)
        try:
            input_HWC, target_HWC = _pixels(couple.input), _pixels(couple.target)
            require_one_aspect(("input", "the target"), input_HWC.shape[:2], target_HWC.shape[:2])
        except RasterError as error:
            return self._rejected(source, item, error)
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

    def _files(self, clips: tuple[Path, Path]) -> dict[str, str]:
        """Name in the table of sources -> digest."""
        return {
            f"{role}/{clip.relative_to(place).as_posix()}": clip_digest(clip)
            for role, clip, place in zip(ROLES, clips, self.places, strict=True)
        }

    def _source(self, name: str, clips: tuple[Path, Path], files: Mapping[str, str], twin: str | None) -> FramesSource:
        refused = Rejected(name, name, "duplicate", f"It holds the same bytes as {twin}") if twin else None
        digest = sha256_json({"files": dict(files), "duplicate_of": twin})
        try:
            max_pairs = 0 if twin else ClipPair(clips, self.parameters).max_pairs
        except RasterError as error:
            if error.reason == "missing":
                raise
            max_pairs = 0  # `build` will say why
        return FramesSource(name, digest, max_pairs, files, clips, directory_split(name), refused)

    def _unsupported(self, role: str, path: Path, clips: Pictures) -> FramesSource:
        place = path.relative_to(clips.directory).as_posix()
        digest, source_id = source_digest(path), f"{role}/{place}"
        what = (
            "It has no number, or lies in no clip's directory"
            if path.suffix.lower() in FILE_FORMATS
            else (f"{path.suffix or 'No suffix'} is no video's or picture's suffix")
        )
        refused = Rejected(source_id, place, "unsupported", what)
        return FramesSource(source_id, digest, 0, {source_id: digest}, (path,), None, refused)

    def _rejected(self, source: FramesSource, item: str, error: RasterError) -> Rejected:
        """As the table of sources calls files: a dataset does not tell, or depend on, where its sources lay."""
        detail = error.problem
        for role, place in zip(ROLES, self.places, strict=True):
            detail = detail.replace(f"{place}/", f"{role}/")
        return Rejected(source.source_id, item, error.reason, detail)


def _pair_id(source: FramesSource, *frames: ClipFrame) -> str:
    """Clip and time, or clip and number where nothing tells the time. Ids ascend as frames do."""
    times_ms = [frame.time_ms for frame in frames if frame.time_ms is not None]
    place = f"{times_ms[0] / 1000:013.6f}s" if times_ms else f"f{frames[0].number:08d}"
    return f"{source.source_id}/{place}"


def _noted(source: FramesSource, note: Note) -> Rejected:
    item = _pair_id(source, note.frame) if note.frame else source.source_id
    return Rejected(source.source_id, item, note.reason, note.detail)


def _pixels(found: Read) -> Pixels:
    if isinstance(found.pixels, RasterError):
        raise found.pixels
    return found.pixels


def _shown(pixels_HWC: Pixels, encoding_name: str, placement: Placement) -> tuple[NDArray[np.uint8], int | None]:
    """What the pair shows of a frame; for a palette also how many pixels had another colour."""
    kind = encoding(encoding_name)
    if not kind.is_palette:
        return kind.of_rgb(shown_photo(pixels_HWC, placement)), None
    drawn_HWC = placement.shown(rgb_photo(pixels_HWC), resize_nearest)
    snapped_HWC = kind.of_rgb(drawn_HWC)
    return snapped_HWC, int((snapped_HWC != drawn_HWC).any(axis=-1).sum())
