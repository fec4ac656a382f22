from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2p_core.errors import RasterError
from preprocessing.clips import ClipFrame, Pixels
from preprocessing.frame_matching import matched_frames, sampled


class Stream:
    """Frames whose pixels hold their number and are gone once the next is taken, as a decoder's are."""

    def __init__(self, times_ms: list[float]) -> None:
        self.times_ms, self.current = times_ms, -1

    def __iter__(self) -> Iterator[ClipFrame]:
        for number, time_ms in enumerate(self.times_ms):
            self.current = number
            yield ClipFrame(number, time_ms, str(number), lambda number=number: self._pixels(number))  # type: ignore[misc]

    def _pixels(self, number: int) -> Pixels:
        assert self.current == number, "read too late"
        return np.full((1, 1, 1), number, np.uint16)


def time_of(frame: ClipFrame) -> float:
    assert frame.time_ms is not None
    return frame.time_ms


def matched(clock_ms: list[float], others_ms: list[float], tolerance: float) -> list[int | None]:
    pairs = matched_frames(Stream(clock_ms), Stream(others_ms), time_of, tolerance)
    found = []
    for frame, other in pairs:
        assert frame.read() == frame.number
        assert other is None or (not isinstance(other.pixels, RasterError) and other.pixels == other.frame.number)
        found.append(other and other.frame.number)
    return found


times = st.lists(st.integers(0, 400), unique=True, max_size=30).map(sorted)


@given(times, times, st.integers(0, 60))
def test_each_frame_takes_the_nearest_that_is_left_and_none_beyond_the_tolerance(clock_ms, others_ms, tolerance) -> None:
    """Against brute force: one after the other takes the nearest of all that come after those taken."""
    expected: list[int | None] = []
    last = -1
    for time_ms in clock_ms:
        free = [k for k in range(last + 1, len(others_ms)) if abs(others_ms[k] - time_ms) <= tolerance]
        nearest = min(free, key=lambda k: abs(others_ms[k] - time_ms), default=None)
        expected.append(nearest)
        last = last if nearest is None else nearest
    assert matched(clock_ms, others_ms, tolerance) == expected


@given(st.integers(5, 60), st.integers(5, 60), st.integers(0, 20), st.integers(0, 3))
def test_of_even_clips_each_frame_of_the_slower_gets_the_nearest_there_is(slow_fps, fast_fps, num_lost, seed) -> None:
    """Against brute force: the nearest of all frames, if that is within half a frame of the faster clip."""
    slow_fps, fast_fps = sorted((slow_fps, fast_fps))
    clock_ms = [1000 * k / slow_fps for k in range(40)]
    others_ms = [1000 * k / fast_fps for k in range(40 * fast_fps // slow_fps)]
    lost = np.random.default_rng(seed).permutation(len(others_ms))[:num_lost].tolist()
    others_ms = [time_ms for k, time_ms in enumerate(others_ms) if k not in lost]
    tolerance = 500 / fast_fps
    expected = []
    for time_ms in clock_ms:
        nearest = min(range(len(others_ms)), key=lambda k: (round(abs(others_ms[k] - time_ms), 6), k))
        expected.append(nearest if abs(others_ms[nearest] - time_ms) <= tolerance - 1e-6 else None)
    if slow_fps != fast_fps:  # halfway between two frames rounding decides, which is no error
        ties = [abs(abs(others_ms[k] - t) - tolerance) < 1e-6 for t in clock_ms for k in range(len(others_ms))]
        if any(ties):
            return
    assert matched(clock_ms, others_ms, tolerance) == expected


def test_the_sampled_frames_keep_to_the_clock_and_never_drift() -> None:
    stream = Stream([1000 * k / 29.97 for k in range(3000)])
    found = [time_of(frame) for frame in sampled(stream, 500, 500 / 29.97)]
    assert len(found) == 201
    assert all(abs(time_ms - 500 * k) <= 500 / 29.97 for k, time_ms in enumerate(found))
    assert [frame.number for frame in sampled(Stream([0, 40, 80]), None, 20)] == [0, 1, 2]
    after_a_gap = sampled(Stream([0.0, 10, 340, 350, 400, 410]), 100, 5)
    assert [frame.number for frame in after_a_gap] == [0, 2, 4]


@pytest.mark.parametrize("reason", ["unreadable", "missing"])
def test_a_frame_that_cannot_be_read_is_a_value_unless_its_file_is_gone(reason) -> None:
    def refuse() -> Pixels:
        raise RasterError("It is broken", remedy="Mend it", reason=reason)

    pairs = matched_frames(Stream([0]), [ClipFrame(0, 0, "0", refuse)], time_of, 1)
    if reason == "missing":
        with pytest.raises(RasterError, match="broken"):
            list(pairs)
    else:
        ((_, other),) = pairs
        assert other is not None
        assert isinstance(other.pixels, RasterError)
