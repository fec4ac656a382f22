"""Videos that OpenCV writes; each frame tells its number in its pixels."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from p2p_core.errors import RasterError
from p2p_core.rasters.video import Video
from p2p_core.rasters.video_container import container_of, is_cut

MADE = Path(__file__).resolve().parents[2] / "data" / "videos"
"""Made by FFmpeg of frames as below, for OpenCV has no such encoder: H.264 with B-frames, 30 frames; the same interlaced, 8;
MPEG-4 with B-frames in AVI, 8."""

KINDS = {"a.avi": "MJPG", "b.avi": "FFV1", "c.mp4": "mp4v", "d.mkv": "FFV1", "e.webm": "VP80", "f.mov": "mp4v"}


def frame_of(number: int) -> np.ndarray:
    """(48, 64, 3): noise above, below it eight bars, one for each bit of the number."""
    pixels_HWC = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for bit in range(8):
        pixels_HWC[24:, 8 * bit : 8 * bit + 8] = 255 * (number >> bit & 1)
    return pixels_HWC


def number_in(pixels_HWC: np.ndarray) -> int:
    return sum(int(pixels_HWC[36, 8 * bit + 4, 1] > 127) << bit for bit in range(8))


def save(path: Path, fps: float = 25, count: int = 20) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*KINDS.get(path.name, "MJPG")), fps, (64, 48))
    for number in range(count):
        writer.write(frame_of(number))
    writer.release()
    return path


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    return path


def damage(path: Path, at: float) -> Path:
    data = bytearray(path.read_bytes())
    middle, length = int(at * len(data)), len(data) // 40
    data[middle : middle + length] = bytes(97 * i % 256 for i in range(length))
    path.write_bytes(data)
    return path


def index_first(path: Path) -> Path:
    """As MP4s are made for the web: the index before the frames, so that a cut file still opens."""
    data = path.read_bytes()
    movie = data.index(b"moov") - 4
    size = int.from_bytes(data[movie : movie + 4], "big")
    index, first = bytearray(data[movie : movie + size]), data.index(b"mdat") - 4
    offsets = index.index(b"stco") + 12
    for i in range(int.from_bytes(index[offsets - 4 : offsets], "big")):
        (offset,) = struct.unpack_from(">I", index, offsets + 4 * i)
        struct.pack_into(">I", index, offsets + 4 * i, offset + size)
    path.write_bytes(data[:first] + bytes(index) + data[first:movie] + data[movie + size :])
    return path


def seen(video: Video) -> list[tuple[int, int]]:
    """(number, the number its pixels tell) of each frame."""
    return [(frame.number, number_in(frame.read())) for frame in video.frames()]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("fps", [10, 25, 30000 / 1001])
def test_every_frame_comes_with_its_number_and_its_time(tmp_path, name, fps) -> None:
    video = Video(save(tmp_path / name, fps))
    assert seen(video) == [(number, number) for number in range(20)]
    assert (video.height_px, video.width_px, video.num_declared) == (48, 64, 20)
    assert video.times_ms == pytest.approx([1000 * number / fps for number in range(20)], abs=1)
    assert [frame.time_ms for frame in video.frames()] == pytest.approx(video.times_ms)
    assert not video.ends_early
    assert not video.has_hole


def test_pixels_are_rgb_and_the_same_every_time(tmp_path) -> None:
    video = Video(save(tmp_path / "b.avi"))
    first, second = (np.stack([frame.read() for frame in video.frames()]) for _ in range(2))
    np.testing.assert_array_equal(first[7], frame_of(7)[..., ::-1])  # FFV1 loses nothing, and OpenCV wrote BGR
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ["a.avi", "d.mkv", "e.webm"])
def test_a_cut_video_gives_the_whole_frames_before_the_cut(tmp_path, name) -> None:
    path = save(tmp_path / name)
    assert not is_cut(path)
    video = Video(cut(path, 0.7))
    assert video.is_cut
    assert video.ends_early
    assert not video.has_hole
    frames = seen(video)
    assert 0 < len(frames) < 20
    assert frames == [(number, number) for number in range(len(frames))]


@pytest.mark.parametrize("share", [0.55, 0.6, 0.7, 0.8])
def test_a_cut_video_gives_no_half_picture(tmp_path, share) -> None:
    path = index_first(save(tmp_path / "c.mp4"))
    whole = [frame.read() for frame in Video(path).frames()]
    assert len(whole) == 20
    video = Video(cut(path, share))
    frames = [frame.read() for frame in video.frames()]
    assert video.ends_early
    assert 0 < len(frames) < 20
    for frame_HWC, whole_HWC in zip(frames, whole, strict=False):
        np.testing.assert_array_equal(frame_HWC, whole_HWC)


def test_a_video_that_is_cut_before_its_index_is_truncated_not_unknown(tmp_path) -> None:
    with pytest.raises(RasterError, match=r"c\.mp4 ends before its index") as caught:
        Video(cut(save(tmp_path / "c.mp4"), 0.6))
    assert caught.value.reason == "truncated"


def test_an_avi_with_a_frame_lost_in_between_has_a_hole_because_all_after_it_come_too_early(tmp_path) -> None:
    path = save(tmp_path / "a.avi")
    chunks = path.read_bytes().split(b"00dc")
    path.write_bytes(b"00dc".join(chunks[:8]) + b"\0\0\0\0" + b"00dc".join(chunks[8:]))
    video = Video(path)
    frames = seen(video)
    assert (7, 7) not in frames, "no frame is lost: this test shows nothing"
    assert (17, 18) in frames
    assert video.has_hole


def test_frames_that_are_stored_out_of_order_come_in_order_and_stop_where_one_is_missing(tmp_path) -> None:
    whole = MADE / "h264_b_frames.mp4"
    assert seen(Video(whole)) == [(number, number) for number in range(30)]
    assert not Video(whole).is_still()
    data = whole.read_bytes()
    path = tmp_path / "cut.mp4"
    counts = set()
    for length in range(len(data) - 400, len(data) - 10, 13):
        path.write_bytes(data[:length])
        frames = seen(Video(path))
        assert frames == [(number, number) for number in range(len(frames))]
        counts.add(len(frames))
    assert len(counts) > 3


def test_an_avi_with_b_frames_whose_times_come_late_gives_no_frame() -> None:
    frames = Video(MADE / "mpeg4_b_frames.avi").frames()
    with pytest.raises(RasterError, match=r"out of order at 0\.040 s") as caught:
        next(frames)
    assert caught.value.reason == "no_times"


def test_interlaced_video_which_opencv_does_not_convert_is_found_out(tmp_path) -> None:
    assert Video(MADE / "h264_interlaced.mp4").is_still()
    assert not Video(save(tmp_path / "a.avi")).is_still()


def test_a_frame_that_a_decoder_gives_up_in_between_is_missed_at_its_place(tmp_path) -> None:
    path = save(tmp_path / "a.avi")
    chunks = path.read_bytes().split(b"00dc")
    chunks[9] = chunks[9][:4] + bytes(len(chunks[9]) - 4)  # its length stays, its picture goes
    path.write_bytes(b"00dc".join(chunks))
    video = Video(path)
    assert len(video.times_ms) == 20
    assert not video.has_hole
    assert seen(video) == [(number, number) for number in range(20) if number != 7]


def test_where_matroska_loses_frames_the_others_keep_their_times_and_the_hole_is_seen(tmp_path) -> None:
    video = Video(damage(save(tmp_path / "d.mkv"), 0.5))
    frames = [(round(frame.time_ms / 40), number_in(frame.read())) for frame in video.frames()]
    assert 10 < len(frames) < len(video.times_ms) < 20
    assert all(at == told for at, told in frames)
    assert frames[-1] == (19, 19)
    assert video.has_hole


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"no video" * 99, "unreadable"), (b"RIFF" + b"\xff" * 20, "truncated"), (None, "missing")],
)
def test_what_is_no_video_is_refused_with_the_reason(tmp_path, content, reason, capfd) -> None:
    path = tmp_path / "x.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RasterError) as caught:
        Video(path)
    assert caught.value.reason == reason
    assert capfd.readouterr() == ("", ""), "FFmpeg's own words belong between nobody's lines"


def test_frames_that_are_too_large_are_refused_before_one_is_decoded(tmp_path) -> None:
    with pytest.raises(RasterError, match="64 x 48 pixels, and the limit is 1000") as caught:
        Video(save(tmp_path / "a.avi"), max_pixels=1000)
    assert caught.value.reason == "bomb"


def test_a_video_that_was_filmed_upright_is_upright_and_says_so(tmp_path) -> None:
    path = save(tmp_path / "c.mp4")
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40  # ISO 14496-12, 8.3.2: version 0
    one = 1 << 16
    assert struct.unpack_from(">9i", data, matrix) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, matrix, 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(data)
    video = Video(path)
    frames = video.frames()
    assert next(frames).read().shape == (64, 48, 3) == (video.height_px, video.width_px, 3)


def test_names_may_hold_spaces_unicode_percent_signs_and_colons(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("zwei Wörter 日本.avi", "a%03d.avi", "file:x.avi"):
        save(tmp_path / "plain.avi").rename(tmp_path / name)
        assert seen(Video(Path(name))) == [(number, number) for number in range(20)]


def test_containers_are_told_by_content(tmp_path) -> None:
    for name, kind in (("a.avi", "avi"), ("c.mp4", "mp4"), ("d.mkv", "matroska"), ("e.webm", "matroska"), ("f.mov", "mp4")):
        path = save(tmp_path / name)
        assert (container_of(path), is_cut(path)) == (kind, False)
        assert is_cut(cut(path, 0.9))
