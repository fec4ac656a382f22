"""Which frame of one clip belongs to which of another. Both are read once, side by side, and one frame of each is kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from p2p_core.errors import RasterError
from preprocessing.clips import ClipFrame, Pixels

__all__ = ["Read", "matched_frames", "read", "sampled"]


@dataclass(frozen=True)
class Read:
    """A frame, and its pixels or why there are none."""

    frame: ClipFrame
    pixels: Pixels | RasterError


def read(frame: ClipFrame) -> Read:
    """Raises `RasterError` only where the file is gone, which says nothing about the frame."""
    try:
        return Read(frame, frame.read())
    except RasterError as error:
        if error.reason == "missing":
            raise
        return Read(frame, error)


def sampled(frames: Iterable[ClipFrame], every_ms: float | None, margin_ms: float) -> Iterator[ClipFrame]:
    """The first frame at or after each multiple of `every_ms`, or up to `margin_ms` before it; all of them without `every_ms`.

    Multiples are of the clip's own time, so that rounding never adds up. Frames without a time are passed on.
    """
    due = 0
    for frame in frames:
        if every_ms is not None and frame.time_ms is not None:
            multiple = math.floor((frame.time_ms + margin_ms) / every_ms)
            if multiple < due:
                continue
            due = multiple + 1
        yield frame


def matched_frames(
    clock: Iterable[ClipFrame], others: Iterable[ClipFrame], place: Callable[[ClipFrame], float], tolerance: float
) -> Iterator[tuple[ClipFrame, Read | None]]:
    """Each frame of `clock` with the one of `others` whose place is nearest, the earlier of two; None beyond `tolerance`.

    Places ascend. No frame of `others` is taken twice. The clock's frame is not read yet.
    """
    waiting = iter(others)
    other = next(waiting, None)
    for frame in clock:
        best: Read | None = None
        distance = math.inf
        while other is not None and place(other) <= place(frame) + tolerance:
            if abs(place(other) - place(frame)) >= distance:
                break  # from here on they are farther; this one may be the next frame's
            if place(other) >= place(frame) - tolerance:
                # Read at once: decoding the next, which may be nearer, takes its pixels away.
                best, distance = read(other), abs(place(other) - place(frame))
            other = next(waiting, None)
        yield frame, best
