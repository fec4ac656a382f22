"""An input clip and its target clip: which frames belong together, and what of each is in no pair."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from p2p_core.config import Config
from p2p_core.errors import RasterError
from p2p_core.pairstore.layout import ROLES
from preprocessing.clips import Clip, ClipFrame, NumberedPictures, Pixels, VideoClip
from preprocessing.frame_matching import Read, matched_frames, read, sampled
from preprocessing.photos import read_photo

__all__ = ["ClipPair", "Couple", "Note", "Timing"]

_ROUNDING_MS = 1.0  # Matroska and WebM round the times of frames to milliseconds


class Timing(Config):
    """Which frames become pairs.

    `match`: `time`, frames that are shown at the same time, to half a frame, whatever the clips' rates; `number`, the first
    with the first, the second with the second: for a video that was made frame by frame from the other and tells another rate.
    `every_s`: one pair in so many seconds; every frame of the slower clip unless given.
    `pictures_fps`: the rate at which numbered pictures were drawn. Without it they are frames of the other clip by number.
    `first_number`: what the picture of a clip's first frame is numbered; `ffmpeg` counts from 1.
    """

    match: Literal["time", "number"] = "time"
    every_s: float | None = Field(default=None, gt=0)
    pictures_fps: float | None = Field(default=None, gt=0)
    first_number: int = Field(default=1, ge=0)


@dataclass(frozen=True)
class Couple:
    """Two frames that belong together, `apart_ms` from one another (None where nothing tells)."""

    input: Read
    target: Read
    apart_ms: float | None


@dataclass(frozen=True)
class Note:
    """Why frames are in no pair. `frame`: the first of them; None where it is about a whole clip."""

    reason: str
    detail: str
    frame: ClipFrame | None = None


class ClipPair:
    """Two clips, opened. The `clock` is the one with fewer frames a second, or fewer frames: each of its frames asks for one
    of the other's."""

    def __init__(
        self, paths: Sequence[Path], timing: Timing, readers: Sequence[Callable[[Path], Pixels]] = (read_photo, read_photo)
    ) -> None:
        """`readers`: of the pictures of each clip that is no video.

        Raises `RasterError`: a clip cannot be opened, or its frames are not what their numbers or times say.
        """
        videos = [None if path.is_dir() else VideoClip(path) for path in paths]
        known = next((video for video in videos if video), None)
        self.clips: list[Clip] = [
            video or NumberedPictures(path, timing.first_number, timing.pictures_fps, known, reader)
            for path, video, reader in zip(paths, videos, readers, strict=True)
        ]
        self._every_ms = None if timing.every_s is None else 1000 * timing.every_s
        self._by_number = timing.match == "number" or (None in videos and timing.pictures_fps is None)
        for role, clip in zip(ROLES, self.clips, strict=True):
            _refuse_hole(role, clip, by_number=self._by_number)
        later = self.clips[1]
        self._clock = 1 if self._is_slower(later, self.clips[0]) else 0

    @property
    def max_pairs(self) -> int:
        return min(len(clip.numbers) for clip in self.clips)

    def refuse_still(self) -> None:
        """Raises `RasterError` where a video has one picture for all its frames, or none. Decodes until two differ."""
        for role, clip in zip(ROLES, self.clips, strict=True):
            if isinstance(clip, VideoClip) and clip.video.is_still():
                raise RasterError(
                    f"All frames of the {role} are one picture: it stands still, or is interlaced, which cannot be decoded",
                    remedy="Leave it out, or deinterlace it",
                    reason="still",
                )

    def couples(self) -> Iterator[Couple | Note]:
        """In order of time, each frame once; what has no counterpart in between. Raises as `Clip.frames`."""
        clock, other = self.clips[self._clock], self.clips[1 - self._clock]
        due = sampled(clock.frames(), self._every_ms, (clock.period_ms or 0) / 2)
        alone: list[ClipFrame] = []
        for frame, found in matched_frames(due, other.frames(), self._place, self._tolerance):
            if found is None:
                alone.append(frame)
                continue
            yield from self._alone(alone)
            alone = []
            pixels = read(frame)
            in_order = (found, pixels) if self._clock else (pixels, found)
            yield Couple(*in_order, _apart_ms(frame, found.frame))
        yield from self._alone(alone)

    def notes_before(self) -> Iterator[Note]:
        """Of clips that end too early."""
        for role, clip in zip(ROLES, self.clips, strict=True):
            if isinstance(clip, VideoClip) and clip.video.ends_early:
                yield Note(
                    "truncated",
                    f"The {role} ends at {_seconds(clip.video.times_ms[-1])}: it holds {len(clip.numbers)} frames of about"
                    f" {clip.video.num_declared} that its header tells of; pairs up to there are kept",
                )

    def notes_after(self) -> Iterator[Note]:
        """Of packets that gave no frame, damaged or meant to be skipped, and of frames that the clock never asks for."""
        for role, clip in zip(ROLES, self.clips, strict=True):
            if isinstance(clip, VideoClip) and clip.lost:
                first = _seconds(clip.video.times_ms[clip.lost[0]])
                yield Note(
                    "undecoded",
                    f"{len(clip.lost)} of {len(clip.numbers)} packets of the {role} give no frame, the first at {first}",
                )
        if over := self._left_over():
            yield Note("unmatched", over)

    def _place(self, frame: ClipFrame) -> float:
        return frame.number if self._by_number or frame.time_ms is None else frame.time_ms

    @property
    def _tolerance(self) -> float:
        if self._by_number:
            return 0
        return min(clip.period_ms or 0 for clip in self.clips) / 2 + _ROUNDING_MS

    def _is_slower(self, clip: Clip, other: Clip) -> bool:
        if self._by_number:
            return len(clip.numbers) < len(other.numbers)
        return (clip.period_ms or 0) > (other.period_ms or 0)

    def _alone(self, frames: Sequence[ClipFrame]) -> Iterator[Note]:
        """One note for a run of the clock's frames."""
        if not frames:
            return
        clock, other = ROLES[self._clock], ROLES[1 - self._clock]
        which = (
            f"Frame {frames[0].label}"
            if len(frames) == 1
            else f"{len(frames)} frames, {frames[0].label} to {frames[-1].label},"
        )
        near = "of the same number" if self._by_number else f"within {self._tolerance:.1f} ms"
        verb = "has" if len(frames) == 1 else "have"
        yield Note("unmatched", f"{which} of the {clock} {verb} none {near} in the {other}", frames[0])

    def _left_over(self) -> str:
        clock, other = self.clips[self._clock], self.clips[1 - self._clock]
        role, counterpart = ROLES[1 - self._clock], ROLES[self._clock]
        if self._by_number:
            alone = sorted(set(other.numbers) - set(clock.numbers))
            if not alone:
                return ""
            first, verb = other.label(alone[0]), "has" if len(alone) == 1 else "have"
            which = f"{len(alone)} of the {len(other.numbers)} frames of the {role}, {'the first ' * (len(alone) > 1)}{first},"
            return f"{which} {verb} none of {'its' if len(alone) == 1 else 'their'} number in the {counterpart}"
        spans = [(clip.time_ms(clip.numbers[0]) or 0, clip.time_ms(clip.numbers[-1]) or 0) for clip in (clock, other)]
        (begin, end), (other_begin, other_end) = spans
        slack = (clock.period_ms or 0) + self._tolerance
        if other_begin >= begin - slack and other_end <= end + slack:
            return ""
        return (
            f"The {role} lasts from {_seconds(other_begin)} to {_seconds(other_end)},"
            f" the {counterpart} from {_seconds(begin)} to {_seconds(end)}: what the {role} has alone is in no pair"
        )


def _refuse_hole(role: str, clip: Clip, *, by_number: bool) -> None:
    if isinstance(clip, VideoClip) and clip.video.has_hole and (by_number or clip.video.container == "avi"):
        raise RasterError(
            f"The {role} holds {len(clip.numbers)} frames of the {clip.video.num_declared} its header tells of, and what is"
            " missing is not at its end: which frame is which cannot be told",
            remedy="Export it again",
            reason="damaged",
        )


def _apart_ms(frame: ClipFrame, other: ClipFrame) -> float | None:
    return None if frame.time_ms is None or other.time_ms is None else abs(frame.time_ms - other.time_ms)


def _seconds(time_ms: float) -> str:
    return f"{time_ms / 1000:.3f} s"
