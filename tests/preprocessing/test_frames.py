from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2p_core.errors import ConfigError, EmptySourceError, PairingError, RasterError, UsageError
from preprocessing.frames import FramesBuilder, FramesParameters
from preprocessing.pairs import Outcome, Pair, Rejected


def frames(root: Path, **values: object) -> FramesBuilder:
    return FramesBuilder((root / "A", root / "B"), FramesParameters.model_validate({"resize_px": (48, 64), **values}))


def outcomes(builder: FramesBuilder) -> list[Outcome]:
    found = []
    for source in builder.sources():
        outcomes = list(builder.build(source))
        pairs = [outcome for outcome in outcomes if isinstance(outcome, Pair)]
        assert [p.pair_id for p in pairs] == sorted({p.pair_id for p in pairs}), "ids ascend"
        assert {p.source_id for p in pairs} <= {source.source_id}
        assert len(pairs) <= source.max_pairs
        found += outcomes
    return found


def rejected(builder: FramesBuilder) -> list[tuple[str, str]]:
    return [(o.item, o.reason) for o in outcomes(builder) if isinstance(o, Rejected)]


def details(builder: FramesBuilder) -> str:
    return "\n".join(o.detail for o in outcomes(builder) if isinstance(o, Rejected))


@pytest.fixture
def numbers(number_in):
    """(builder) -> the numbers in the pixels of each pair: (input, target)."""
    return lambda builder: [(number_in(o.input_HWC), number_in(o.target_HWC)) for o in outcomes(builder) if isinstance(o, Pair)]


def test_frames_of_one_rate_pair_one_to_one_without_losing_a_pixel(tmp_path, save_clip, numbers) -> None:
    for side, codec in (("A", "FFV1"), ("B", "mp4v")):
        save_clip(tmp_path / side / "walk.avi", range(20), codec=codec)
    builder = frames(tmp_path)
    assert numbers(builder) == [(number, number) for number in range(20)]
    assert rejected(builder) == []
    pair = outcomes(builder)[3]
    assert isinstance(pair, Pair)
    assert (pair.pair_id, pair.source_id) == ("walk/000000.120000s", "walk")
    assert pair.attributes == {"input_frame": "3", "target_frame": "3", "apart_ms": "0.0"}
    assert pair.input_HWC.shape == (48, 64, 3)
    assert np.abs(pair.input_HWC[24:].astype(int) - pair.target_HWC[24:]).mean() < 20


@pytest.mark.parametrize(("input_fps", "target_fps"), [(25, 30), (30, 25), (30000 / 1001, 30), (5, 29.97), (24, 60), (50, 10)])
def test_clips_of_different_rates_pair_at_the_nearest_times_and_never_drift(
    tmp_path, save_clip, numbers, input_fps, target_fps
) -> None:
    seconds = 8
    for side, fps in (("A", input_fps), ("B", target_fps)):
        save_clip(tmp_path / side / "a.avi", range(min(round(seconds * fps), 256)), fps=fps)
    length_s = min(min(round(seconds * fps), 256) / fps for fps in (input_fps, target_fps))
    found = numbers(frames(tmp_path))
    assert len(found) >= int(length_s * min(input_fps, target_fps)) - 1
    half_frame_s = 0.5 / max(input_fps, target_fps) + 0.001
    assert max(abs(i / input_fps - t / target_fps) for i, t in found) <= half_frame_s
    assert len({i for i, _ in found}) == len({t for _, t in found}) == len(found)


def test_a_pair_every_so_many_seconds_keeps_to_the_clock(tmp_path, save_clip, numbers) -> None:
    for side, fps in (("A", 29.97), ("B", 25)):
        save_clip(tmp_path / side / "a.avi", range(round(6 * fps)), fps=fps)
    found = numbers(frames(tmp_path, every_s=0.5))
    assert len(found) == 12
    assert max(abs(target / 25 - 0.5 * k) for k, (_, target) in enumerate(found)) < 0.0201
    assert max(abs(i / 29.97 - t / 25) for i, t in found) <= 0.018


def test_by_number_the_nth_frame_meets_the_nth_whatever_rate_a_video_says(tmp_path, save_clip, numbers) -> None:
    save_clip(tmp_path / "A" / "a.avi", range(60), fps=30)
    save_clip(tmp_path / "B" / "a.avi", range(60), fps=10)
    assert numbers(frames(tmp_path, match="number")) == [(number, number) for number in range(60)]
    assert numbers(frames(tmp_path)) == [(3 * number, number) for number in range(20)]


def test_missing_last_frames_are_told_once_and_the_rest_is_paired(tmp_path, save_clip, numbers) -> None:
    save_clip(tmp_path / "A" / "a.avi", range(20))
    save_clip(tmp_path / "B" / "a.avi", range(17))
    builder = frames(tmp_path)
    assert numbers(builder) == [(number, number) for number in range(17)]
    assert rejected(builder) == [("a/000000.680000s", "unmatched")]
    assert "3 frames, 17 to 19, of the input have none within 21.0 ms in the target" in details(builder)
    (tmp_path / "A").rename(tmp_path / "C")
    (tmp_path / "B").rename(tmp_path / "A")
    (tmp_path / "C").rename(tmp_path / "B")
    assert numbers(frames(tmp_path)) == [(number, number) for number in range(17)]
    assert rejected(frames(tmp_path)) == [("a", "unmatched")]
    assert "The target lasts from 0.000 s to 0.760 s, the input from 0.000 s to 0.640 s" in details(frames(tmp_path))


def test_a_cut_clip_gives_its_frames_before_the_cut_and_says_so(tmp_path, save_clip, numbers) -> None:
    path = save_clip(tmp_path / "A" / "a.avi", range(40), codec="MJPG")
    save_clip(tmp_path / "B" / "a.avi", range(40))
    save_clip(tmp_path / "A" / "whole.avi", range(5, 9))
    save_clip(tmp_path / "B" / "whole.avi", range(5, 9))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    builder = frames(tmp_path)
    found = numbers(builder)
    assert 10 < len(found) < 44
    assert all(i == t for i, t in found)
    assert found[-4:] == [(number, number) for number in range(5, 9)]
    assert rejected(builder) == [("a", "truncated"), ("a", "unmatched")]
    assert "40 that its header tells of; pairs up to there are kept" in details(builder)


def test_an_avi_that_lost_a_frame_in_between_is_refused_for_all_after_it_would_be_one_off(tmp_path, save_clip, numbers) -> None:
    path = save_clip(tmp_path / "A" / "a.avi", range(20), codec="MJPG")
    save_clip(tmp_path / "B" / "a.avi", range(20))
    chunks = path.read_bytes().split(b"00dc")
    path.write_bytes(b"00dc".join(chunks[:8]) + b"\0\0\0\0" + b"00dc".join(chunks[8:]))
    assert numbers(frames(tmp_path)) == []
    assert rejected(frames(tmp_path)) == [("a", "damaged")]


def test_frames_a_decoder_gives_up_are_counted_and_no_other_takes_their_place(tmp_path, save_clip, numbers) -> None:
    path = save_clip(tmp_path / "A" / "a.avi", range(20), codec="MJPG")
    save_clip(tmp_path / "B" / "a.avi", range(20))
    chunks = path.read_bytes().split(b"00dc")
    for lost in (9, 14):
        chunks[lost] = chunks[lost][:4] + bytes(len(chunks[lost]) - 4)  # its length stays, its picture goes
    path.write_bytes(b"00dc".join(chunks))
    for match in ("time", "number"):
        builder = frames(tmp_path, match=match)
        assert numbers(builder) == [(number, number) for number in range(20) if number not in (7, 12)]
        assert ("a", "undecoded") in rejected(builder)
        assert "2 of 20 packets of the input give no frame, the first at 0.280 s" in details(builder)


def test_broken_clips_are_rejected_with_their_reasons_and_no_place_is_told(tmp_path, save_clip, numbers) -> None:
    for start, names in enumerate((("empty",), ("junk",), ("bare",), ("good", "twin"), ("tall",))):
        for name in names:
            for side in ("A", "B"):
                save_clip(tmp_path / side / f"{name}.mp4", range(start, 9), codec="mp4v")
    (tmp_path / "A" / "empty.mp4").write_bytes(b"")
    (tmp_path / "B" / "junk.mp4").write_bytes(b"no video" * 50)
    (tmp_path / "B" / "bare.mp4").write_bytes((tmp_path / "A" / "bare.mp4").read_bytes()[:-1500])
    save_clip(tmp_path / "A" / "tall.mp4", range(9), codec="mp4v", size_px=(64, 48))
    (tmp_path / "A" / "notes.txt").write_text("by hand")
    (tmp_path / "A" / "4.png").write_bytes(b"lies in no clip's directory")
    builder = frames(tmp_path)
    assert sorted(rejected(builder)) == [
        ("4.png", "unsupported"),
        ("bare", "truncated"),
        ("empty", "empty"),
        ("junk", "unreadable"),
        ("notes.txt", "unsupported"),
        ("tall", "size"),
        ("twin", "duplicate"),
    ]
    assert numbers(builder) == [(number, number) for number in range(3, 9)]
    assert str(tmp_path) not in details(builder)
    assert "The input has 48x64 px and the target 64x48" in details(builder)
    assert "target/bare.mp4 ends before its index" in details(builder)


def test_a_video_that_stands_still_is_refused_for_so_does_an_interlaced_one(tmp_path, save_clip, numbers) -> None:
    save_clip(tmp_path / "A" / "a.avi", range(6))
    save_clip(tmp_path / "B" / "a.avi", [5] * 6)
    assert rejected(frames(tmp_path)) == [("a", "still")]
    save_clip(tmp_path / "B" / "a.avi", [5] * 5 + [6])
    assert len(numbers(frames(tmp_path))) == 6


def test_a_uniform_frame_is_rejected_by_its_own_id(tmp_path, save_clip, save_picture, save_numbered) -> None:
    save_clip(tmp_path / "A" / "a.avi", range(3))
    for number in range(3):
        save_numbered(tmp_path / "B" / "a" / f"{number}.png", number)
    save_picture(tmp_path / "B" / "a" / "1.png", np.zeros((48, 64, 3), np.uint8))
    assert rejected(frames(tmp_path, first_number=0)) == [("a/000000.040000s", "uniform")]


def test_a_clip_without_counterpart_names_the_nearest(tmp_path, save_clip) -> None:
    for side, name in (("A", "walk 1"), ("A", "run"), ("B", "wolk 1"), ("B", "run")):
        save_clip(tmp_path / side / f"{name}.avi", range(3))
    with pytest.raises(PairingError, match=r"A/walk 1\.avi has no counterpart .*nearest is 'wolk 1'.*1 of 2 clips"):
        frames(tmp_path).sources()


def test_what_cannot_be_meant_is_refused(tmp_path, save_clip, save_picture, picture) -> None:
    with pytest.raises(UsageError, match="takes two directories"):
        FramesBuilder((tmp_path,), FramesParameters())
    with pytest.raises(EmptySourceError, match="A is not a directory"):
        frames(tmp_path).sources()
    (tmp_path / "A").mkdir()
    with pytest.raises(EmptySourceError, match=r"A holds no clip"):
        frames(tmp_path).sources()
    with pytest.raises(ConfigError, match="Unknown encoding 'rbg'"):
        frames(tmp_path, input_encoding="rbg")
    save_clip(tmp_path / "A" / "a.avi", range(3))
    save_picture(tmp_path / "A" / "a" / "1.png", picture(8, 8, 1))
    with pytest.raises(PairingError, match=r"a\.avi have one name|A/a have one name"):
        frames(tmp_path).sources()


def test_a_clip_that_vanishes_during_a_build_stops_it(tmp_path, save_clip) -> None:
    for side in ("A", "B"):
        save_clip(tmp_path / side / "a.avi", range(3))
    builder = frames(tmp_path)
    (source,) = builder.sources()
    (tmp_path / "B" / "a.avi").unlink()
    with pytest.raises(RasterError, match="does not exist"):
        list(builder.build(source))
