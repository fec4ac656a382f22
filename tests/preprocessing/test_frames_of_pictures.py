"""Frames against numbered pictures: landmarks or masks that were drawn for them, palettes, and rates of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2p_core.errors import PairingError, UsageError
from preprocessing.frames import FramesBuilder, FramesParameters
from preprocessing.pairs import Outcome, Pair, Rejected


def frames(root: Path, **values: object) -> FramesBuilder:
    return FramesBuilder((root / "A", root / "B"), FramesParameters.model_validate({"resize_px": (48, 64), **values}))


def outcomes(builder: FramesBuilder) -> list[Outcome]:
    found = []
    for source in builder.sources():
        outcomes = list(builder.build(source))
        assert sum(isinstance(outcome, Pair) for outcome in outcomes) <= source.max_pairs
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


@pytest.mark.parametrize("first", [0, 1])
def test_a_pictures_number_is_its_frames(tmp_path, save_clip, save_numbered, numbers, first) -> None:
    """Not all frames have a picture, as where no face was found; numbers do not sort as names do."""
    save_clip(tmp_path / "B" / "face one.avi", range(12))
    for number in (0, 1, 2, 5, 6, 9, 10, 11):
        save_numbered(tmp_path / "A" / "face one" / f"take2 {number + first}.png", number)
    builder = frames(tmp_path, first_number=first)
    assert numbers(builder) == [(number, number) for number in (0, 1, 2, 5, 6, 9, 10, 11)]
    assert rejected(builder) == [("face one", "unmatched")]
    assert "4 of the 12 frames of the target, the first 3, have none of their number in the input" in details(builder)
    pair = outcomes(builder)[4]
    assert isinstance(pair, Pair)
    assert pair.pair_id == "face one/000000.240000s"
    assert pair.attributes == {"input_frame": f"take2 {6 + first}.png", "target_frame": "6", "apart_ms": "0.0"}


def test_a_picture_before_the_first_number_is_refused_for_all_would_be_one_off(tmp_path, save_clip, save_numbered) -> None:
    save_clip(tmp_path / "B" / "a.avi", range(3))
    for number in range(3):
        save_numbered(tmp_path / "A" / "a" / f"{number}.png", number)
    with pytest.raises(PairingError, match=r"0\.png has number 0, .*first frame has 1\. Set first_number to 0"):
        frames(tmp_path).sources()


def test_pictures_beyond_a_videos_end_have_no_counterpart(tmp_path, save_clip, save_numbered, numbers) -> None:
    save_clip(tmp_path / "B" / "a.avi", range(3))
    for number in (2, 3, 4, 9):
        save_numbered(tmp_path / "A" / "a" / f"{number}.png", number - 1)
    assert numbers(frames(tmp_path)) == [(1, 1), (2, 2)]
    assert "2 of the 4 frames of the input, the first 4.png, have none of their number in the target" in details(
        frames(tmp_path)
    )


def test_two_pictures_of_one_number_are_refused(tmp_path, save_clip, save_numbered) -> None:
    save_clip(tmp_path / "B" / "a.avi", range(3))
    for name in ("left_01", "right_1"):
        save_numbered(tmp_path / "A" / "a" / f"{name}.png", 1)
    with pytest.raises(PairingError, match=r"left_01\.png and .*right_1\.png have one number, 1"):
        frames(tmp_path).sources()


def test_pictures_that_were_drawn_at_a_rate_of_their_own_pair_by_time(tmp_path, save_clip, save_numbered, numbers) -> None:
    save_clip(tmp_path / "A" / "a.avi", range(60), fps=30)
    for number in range(10):
        save_numbered(tmp_path / "B" / "a" / f"{number:04d}.png", number)
    found = numbers(frames(tmp_path, pictures_fps=5, first_number=0))
    assert found == [(6 * number, number) for number in range(10)]


def test_every_run_of_frames_without_a_counterpart_is_told_once(tmp_path, save_clip, save_numbered, numbers) -> None:
    save_clip(tmp_path / "A" / "a.avi", range(12))
    there = [number for number in range(12) if number not in (3, 4, 8, 11)]
    for number in there:
        save_numbered(tmp_path / "B" / "a" / f"{number}.png", number)
    builder = frames(tmp_path, pictures_fps=25, first_number=0)
    assert numbers(builder) == [(number, number) for number in there]
    assert rejected(builder) == [(f"a/000000.{ms}000s", "unmatched") for ms in (120, 320, 440)]
    assert "2 frames, 3 to 4, of the input have none" in details(builder)
    assert "Frame 8 of the input has none" in details(builder)


def test_two_directories_of_pictures_pair_by_number_and_take_no_seconds(tmp_path, save_numbered, numbers) -> None:
    for number in (3, 4, 10):
        save_numbered(tmp_path / "A" / "a" / f"{number}.png", number)
        save_numbered(tmp_path / "B" / "a" / f"frame_{number:05d}.webp", number)
    assert numbers(frames(tmp_path)) == [(3, 3), (4, 4), (10, 10)]
    pair = outcomes(frames(tmp_path))[0]
    assert isinstance(pair, Pair)
    assert pair.pair_id == "a/f00000002"
    assert "apart_ms" not in pair.attributes
    with pytest.raises(UsageError, match="every_s asks for a pair every 2 s, and nothing tells the times"):
        frames(tmp_path, every_s=2).sources()
    assert numbers(frames(tmp_path, every_s=1, pictures_fps=2)) == [(3, 3), (10, 10)]


def test_a_broken_picture_is_rejected_alone(tmp_path, save_clip, save_numbered, numbers) -> None:
    save_clip(tmp_path / "B" / "a.avi", range(5))
    for number in range(5):
        save_numbered(tmp_path / "A" / "a" / f"{number + 1}.png", number)
    path = tmp_path / "A" / "a" / "3.png"
    path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "A" / "a" / "1.png").write_bytes(b"")
    assert numbers(frames(tmp_path)) == [(1, 1), (3, 3), (4, 4)]
    assert rejected(frames(tmp_path)) == [("a/000000.000000s", "empty"), ("a/000000.080000s", "truncated")]
    assert "input/a/3.png" in details(frames(tmp_path))
    assert str(tmp_path) not in details(frames(tmp_path))


def test_masks_keep_the_colours_of_their_palette_at_another_size_and_gray_is_gray(tmp_path, save_clip, save_picture) -> None:
    save_clip(tmp_path / "B" / "a.avi", range(4))
    mask_HWC = np.zeros((96, 128, 1), np.uint8)
    mask_HWC[10:, 31:77] = 250  # nearly the palette's white
    for number in range(1, 5):
        save_picture(tmp_path / "A" / "a" / f"{number}.png", mask_HWC)
    builder = frames(tmp_path, input_encoding="one_hot:000000-ffffff", target_encoding="gray", resize_px=(24, 32))
    pairs = [outcome for outcome in outcomes(builder) if isinstance(outcome, Pair)]
    assert len(pairs) == 4
    assert {tuple(colour) for colour in pairs[0].input_HWC.reshape(-1, 3).tolist()} == {(0, 0, 0), (255, 255, 255)}
    assert int(pairs[0].attributes["snapped_px"]) == (pairs[0].input_HWC[..., 0] == 255).sum()
    assert pairs[0].target_HWC.shape == (24, 32, 1)


def test_the_middle_of_both_is_cut_out_alike_whatever_their_sizes(tmp_path, save_clip, save_numbered) -> None:
    save_clip(tmp_path / "B" / "a.avi", [7], size_px=(96, 128))
    save_numbered(tmp_path / "A" / "a" / "1.png", 7)
    (pair,) = outcomes(frames(tmp_path, resize_px=(40, 40)))
    assert isinstance(pair, Pair)
    assert pair.input_HWC.shape == pair.target_HWC.shape == (40, 40, 3)
    bars = slice(24, 40)  # below the noise, which scales otherwise
    assert np.abs(pair.input_HWC[bars].astype(int) - pair.target_HWC[bars]).mean() < 8
