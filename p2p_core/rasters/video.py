"""Videos, frame after frame, through the FFmpeg that OpenCV brings along. Legend: H W pixels, C bands.

A video is read from its beginning, never sought in; one frame is in memory. Its packets are listed first, without
decoding: how many frames there are and when each is shown comes from there, so that a frame the decoder gave up is missed
at its place and those after it keep their numbers and times. What a decoder conceals, though, looks like a frame.
Decoding takes one thread, so that it gives the same pixels every time.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import RasterError
from p2p_core.rasters.images import MAX_PIXELS
from p2p_core.rasters.video_container import container_of, is_cut

__all__ = ["VIDEO_SUFFIXES", "Video", "VideoFrame"]

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")

# FFmpeg reads this when the first video is opened. What is wrong with a file is said by our errors.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_SAME_MS = 0.01  # by rounding
_HOLE = 1.5  # periods
_REORDERED = 17  # H.264 and HEVC keep no more than 16 frames back


class VideoFrame:
    """A decoded frame: `number` from 0 in order of time, `time_ms` from the video's first. `read` before the next is taken."""

    def __init__(self, number: int, time_ms: float, capture: cv2.VideoCapture, name: str) -> None:
        self.number, self.time_ms, self._capture, self._name = number, time_ms, capture, name

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) RGB, upright. Raises `RasterError` where the decoder gives no picture."""
        done, bgr_HWC = self._capture.retrieve()
        if not done:
            raise RasterError(f"Frame {self.number} of {self._name} cannot be decoded", remedy="Export the video again")
        rgb_HWC: NDArray[np.uint8] = cv2.cvtColor(bgr_HWC, cv2.COLOR_BGR2RGB)
        return rgb_HWC


class Video:
    """One video file. Holds no open file.

    Attributes:
        height_px, width_px: of a frame, upright.
        fps: frames a second, as the header says.
        container, is_cut: as `video_container` says.
        num_declared: how many frames the header says, or its duration comes to; 0 where it says nothing.
        times_ms: of every frame in the file, in ascending order, from 0: presentation times of the packets.

    Raises:
        RasterError: missing, empty, no video, cut before its index, or of frames of more than `max_pixels`.
    """

    def __init__(self, path: Path, *, max_pixels: int = MAX_PIXELS) -> None:
        self.name, self._path = str(path), path
        with _opened(path, packets=False) as capture:  # which tells the size of upright frames; packets do not
            self.height_px = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            self.width_px = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
            if self.width_px * self.height_px > max_pixels:
                raise RasterError(
                    f"{path} is refused as a decompression bomb: its frames have {self.width_px} x {self.height_px} pixels,"
                    f" and the limit is {max_pixels}",
                    remedy="Scale the video down",
                    reason="bomb",
                )
            self.fps = float(capture.get(cv2.CAP_PROP_FPS))
            self.num_declared = max(0, round(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
        self.container, self.is_cut = container_of(path), is_cut(path)
        times_ms = []
        with _opened(path, packets=True) as capture:
            while capture.grab():
                times_ms.append(float(capture.get(cv2.CAP_PROP_POS_MSEC)))
        self.times_ms = tuple(sorted(times_ms))
        if not self.times_ms:
            reason = "truncated" if self.is_cut else "empty"
            raise RasterError(f"{path} holds no frame", remedy="Fetch or export it again", reason=reason)
        if not (math.isfinite(self.fps) and self.fps > 0) or len(set(self.times_ms)) < len(self.times_ms):
            raise RasterError(
                f"{path} does not tell when its frames are shown",
                remedy="Pack it again, for example with ffmpeg -i IN -c copy OUT.mkv",
                reason="no_times",
            )

    @property
    def period_ms(self) -> float:
        """From one frame to the next, on average: of the frames that are there, for a header's rate may be that of a clock."""
        steps = len(self.times_ms) - 1
        return (self.times_ms[-1] - self.times_ms[0]) / steps if steps else 1000 / self.fps

    @property
    def ends_early(self) -> bool:
        """The file is cut, or its frames end before its header says. (Matroska says how long it lasts, or its sound does.)"""
        return self.is_cut or (self.container != "matroska" and len(self.times_ms) < self.num_declared)

    @property
    def num_whole(self) -> int:
        """How many frames, from the first, are all there. At a cut the last may be half a picture, and frames that are shown
        before others but stored after them are missing."""
        if not self.is_cut:
            return len(self.times_ms)
        near_end = range(max(1, len(self.times_ms) - _REORDERED), len(self.times_ms) - 1)
        gaps = (k for k in near_end if self.times_ms[k] - self.times_ms[k - 1] > _HOLE * self.period_ms)
        return next(gaps, len(self.times_ms) - 1)

    @property
    def has_hole(self) -> bool:
        """Frames are lost before its end, so that the number of a later frame is that of another."""
        if len(self.times_ms) >= self.num_declared:
            return False
        if self.container == "avi":
            return not self.is_cut  # what is short although its end is there lacks something in between
        return bool((np.diff(self.times_ms[: self.num_whole]) > _HOLE * self.period_ms).any())

    def is_still(self) -> bool:
        """Whether all frames are one picture, as those of interlaced video are here: OpenCV 5.0 fails to convert
        them, without a word, and gives what its memory held.

        Raises:
            RasterError: there is no frame that can be decoded.
        """
        first_HWC: NDArray[np.uint8] | None = None
        for frame in self.frames():
            pixels_HWC = frame.read()
            if first_HWC is None:
                first_HWC = pixels_HWC
            elif not np.array_equal(first_HWC, pixels_HWC):
                return False
        if first_HWC is None:
            raise RasterError(
                f"None of the {len(self.times_ms)} frames of {self.name} can be decoded: OpenCV does not know the codec,"
                " or they are damaged",
                remedy="Encode it as H.264, for example",
                reason="unsupported",
            )
        return self.num_whole > 1

    def frames(self) -> Iterator[VideoFrame]:
        """Every one of the first `num_whole` frames that can be decoded, in order.

        Raises `RasterError` where their times make no order.
        """
        last, whole = -1, self.num_whole
        with _opened(self._path, packets=False) as capture:
            for attempt in range(len(self.times_ms)):
                if not capture.grab():  # a packet that gives no frame; the next may
                    continue
                time_ms = float(capture.get(cv2.CAP_PROP_POS_MSEC))
                number = bisect_left(self.times_ms, time_ms - _SAME_MS)
                known = number < len(self.times_ms) and abs(self.times_ms[number] - time_ms) <= _SAME_MS
                late = self.container == "avi" and number != attempt  # as B-frames make it, all by some frames
                if not known or number <= last or late:
                    raise RasterError(
                        f"The times of {self.name} are out of order at {time_ms / 1000:.3f} s (as of an AVI with B-frames)",
                        remedy="Encode it again",
                        reason="no_times",
                    )
                last = number
                if number >= whole:
                    return
                yield VideoFrame(number, time_ms, capture, self.name)


@contextmanager
def _opened(path: Path, *, packets: bool) -> Iterator[cv2.VideoCapture]:
    """The opened video; with `packets`, `grab` goes from packet to packet and decodes nothing. Raises `RasterError`."""
    if not path.exists():
        raise RasterError(f"{path} does not exist", remedy="Check the path", reason="missing")
    if path.stat().st_size == 0:
        raise RasterError(f"{path} is empty", remedy="Fetch or export it again", reason="empty")
    options: list[Any] = [cv2.CAP_PROP_FORMAT, -1] if packets else [cv2.CAP_PROP_N_THREADS, 1]
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # An absolute path, for FFmpeg takes what stands before a colon for a protocol.
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG, options)
    finally:
        cv2.utils.logging.setLogLevel(level)
    try:
        if not capture.isOpened():
            if is_cut(path):
                raise RasterError(f"{path} ends before its index", remedy="Fetch or export it again", reason="truncated")
            raise RasterError(
                f"{path} cannot be opened: it is no video, or of an unknown codec",
                remedy="Export it as H.264 in MP4, for example",
            )
        yield capture
    finally:
        capture.release()
