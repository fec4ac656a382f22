"""Clips in directories, and their frames one after the other: a video's, or numbered pictures'. Legend: H W pixels, C bands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from p2p_core.errors import EmptySourceError, PairingError, RasterError
from p2p_core.files import sha256_json
from p2p_core.rasters.registry import FILE_FORMATS, source_digest
from p2p_core.rasters.video import VIDEO_SUFFIXES, Video
from preprocessing.matching import Pictures, nothing_found, visible_files
from preprocessing.photos import read_photo
from preprocessing.pictures import picture_size_px

__all__ = ["Clip", "ClipFrame", "NumberedPictures", "Pixels", "VideoClip", "clip_digest", "find_clips", "numbered"]


Pixels = NDArray[Any]
"""(H, W, C), uint8 or uint16: gray or RGB, with or without alpha."""


@dataclass(frozen=True)
class ClipFrame:
    """`number` from 0 for the clip's first frame. `time_ms` from there; None where nothing tells it.

    `label` is what the frame is called where it comes from. `read` may be called before the next frame is taken, and raises
    `RasterError`.
    """

    number: int
    time_ms: float | None
    label: str
    read: Callable[[], Pixels]


class Clip(Protocol):
    """Frames that are read from the first to the last.

    Attributes:
        size_px: (height, width).
        numbers: of the frames that are there, in ascending order.
        period_ms: from one frame to the next; None where nothing tells it.
    """

    @property
    def size_px(self) -> tuple[int, int]: ...
    @property
    def numbers(self) -> tuple[int, ...]: ...
    @property
    def period_ms(self) -> float | None: ...

    def time_ms(self, number: int) -> float | None:
        """When the frame of this number is shown; None where nothing tells it."""
        ...

    def label(self, number: int) -> str:
        """What the frame of this number is called where it comes from."""
        ...

    def frames(self) -> Iterator[ClipFrame]:
        """In ascending order of numbers and times. Raises `RasterError` where what follows cannot be read."""
        ...


class VideoClip:
    """A video's frames. `lost`: the numbers of those the decoder gave up, as far as `frames` has come."""

    def __init__(self, path: Path) -> None:
        """Raises as `Video`."""
        self.video = Video(path)
        self.size_px = self.video.height_px, self.video.width_px
        self.numbers = tuple(range(len(self.video.times_ms)))
        self.period_ms: float | None = self.video.period_ms
        self.lost: list[int] = []

    def time_ms(self, number: int) -> float | None:
        return self.video.times_ms[number] if number < len(self.numbers) else None

    def label(self, number: int) -> str:
        return str(number)

    def frames(self) -> Iterator[ClipFrame]:
        expected = 0
        for frame in self.video.frames():
            self.lost += range(expected, frame.number)
            expected = frame.number + 1
            yield ClipFrame(frame.number, frame.time_ms, self.label(frame.number), frame.read)
        self.lost += range(expected, self.video.num_whole)


class NumberedPictures:
    """The pictures of a directory in order of their numbers, of which `first` is the clip's first frame.

    They have the times that `fps` gives them or, without it, those of the frames of `clock`, if that is given. `read`: gives a
    picture's pixels, or raises `RasterError`.
    """

    def __init__(
        self,
        directory: Path,
        first: int,
        fps: float | None,
        clock: VideoClip | None,
        read: Callable[[Path], Pixels] = read_photo,
    ) -> None:
        """Raises as `numbered`."""
        self._by_number = {number - first: path for number, path in numbered(directory, first).items()}
        self._clock, self._read = None if fps else clock, read
        self.period_ms = 1000 / fps if fps else clock.period_ms if clock else None
        self.numbers = tuple(self._by_number)

    @property
    def size_px(self) -> tuple[int, int]:
        """Of the first picture that can be read. Raises `RasterError` where none can."""
        *most, last = self._by_number.values()
        for path in most:
            try:
                return picture_size_px(path)
            except RasterError:  # will be rejected, with its reason, where its turn comes
                continue
        return picture_size_px(last)

    def time_ms(self, number: int) -> float | None:
        if self._clock:
            return self._clock.time_ms(number)
        return None if self.period_ms is None else number * self.period_ms

    def label(self, number: int) -> str:
        return self._by_number[number].name

    def frames(self) -> Iterator[ClipFrame]:
        for number, path in self._by_number.items():
            yield ClipFrame(number, self.time_ms(number), self.label(number), partial(self._read, path))


def find_clips(directory: Path, ending: str = "") -> Pictures:
    """Every clip under a directory: a video, or a directory that holds pictures. `others` are neither, or have no number.

    Args:
        ending: names are without it, and clips that lack it take no part.

    Raises:
        EmptySourceError: the directory is missing or holds no clip, or none with that ending.
        PairingError: two clips have one name but for the suffix.
    """
    if not directory.is_dir():
        raise EmptySourceError(f"{directory} is not a directory", remedy="Give the directory that holds the clips")
    by_name: dict[str, Path] = {}
    others, lacking = [], []
    for path in visible_files(directory):
        place = path.relative_to(directory)
        if path.suffix.lower() in VIDEO_SUFFIXES:
            name, clip = place.with_suffix("").as_posix(), path
        elif _is_numbered(path) and path.parent != directory:
            name, clip = place.parent.as_posix(), path.parent
        else:
            others.append(path)
            continue
        if not name.endswith(ending):
            lacking.append(clip)
        elif by_name.setdefault(name.removesuffix(ending), clip) != clip:
            raise PairingError(
                f"{by_name[name.removesuffix(ending)]} and {clip} have one name", remedy="Rename or remove one of them"
            )
    if not by_name:
        remedy = f"Put videos there ({', '.join(VIDEO_SUFFIXES)}), or a directory of numbered pictures for each clip"
        raise nothing_found(directory, ending, lacking, "clip", remedy)
    return Pictures(directory, dict(sorted(by_name.items())), tuple(others))


def numbered(directory: Path, first: int = 0) -> Mapping[int, Path]:
    """Number -> picture, in ascending order. The number is the last digits of a name: `left_0012.png` is 12.

    Raises:
        PairingError: two pictures have one number, or a number lies before `first`.
    """
    by_number: dict[int, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or not _is_numbered(path):
            continue
        number = int(_digits(path)[-1])
        if number in by_number:
            raise PairingError(
                f"{by_number[number]} and {path} have one number, {number}",
                remedy="Number the pictures at the end of their names",
            )
        if number < first:
            raise PairingError(
                f"{path} has number {number}, and a clip's first frame has {first}",
                remedy=f"Set first_number to {number} if that is the clip's first frame",
            )
        by_number[number] = path
    return dict(sorted(by_number.items()))


def clip_digest(clip: Path) -> str:
    """Of a video's bytes, or of a directory's pictures and their names. Raises `RasterError` where they cannot be read."""
    if not clip.is_dir():
        return source_digest(clip)
    return sha256_json([[path.name, source_digest(path)] for path in numbered(clip).values()])


def _is_numbered(path: Path) -> bool:
    return path.suffix.lower() in FILE_FORMATS and bool(_digits(path))


def _digits(path: Path) -> list[str]:
    return re.findall(r"[0-9]+", path.stem)
