"""Groups of names, the split that keeps them together, and the hint where nobody asked for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli import run
from p2p_core.config import replace
from p2p_core.errors import ConfigError
from p2p_core.geometry import Window
from p2p_core.pairstore.reader import PairStore
from preprocessing.grouping import group_of
from preprocessing.pairs import Rejected
from preprocessing.split import GroupSplit
from tests.preprocessing.conftest import make_picture, write_picture

CLIPS = ("0001TP_", "Seq05VD_f", "day/0016E5_")


@dataclass(frozen=True)
class Item:
    source_id: str
    pair_id: str = "p"
    window: Window | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("name", "by", "group"),
    [
        ("0001TP_006690", "prefix", "0001TP_"),
        ("Seq05VD_f00030", "prefix", "Seq05VD_f"),
        ("day 1/frame_0001", "prefix", "day 1/frame_"),
        ("day 1/0001_left", "prefix", "day 1/"),
        ("portrait", "prefix", "portrait"),
        ("day 1/portrait", "prefix", "day 1/portrait"),
        ("clip_0199", "prefix:100", "clip_:1"),
        ("clip_200", "prefix:100", "clip_:2"),
        ("day 1/frame_0001", "directory", "day 1"),
        ("p07_eye_left", "^(p[0-9]+)_", "p07"),
        ("eye_left", "^(p[0-9]+)_", None),
    ],
)
def test_a_name_tells_its_group(name: str, by: str, group: str | None) -> None:
    assert group_of(name, by) == group


def test_frames_of_a_clip_lie_in_one_split_and_clips_in_several() -> None:
    rule = GroupSplit(by="prefix")
    splits = [{rule.assign(Item(f"clip {clip}_{k:04}")) for k in range(50)} for clip in range(40)]
    assert all(len(of_clip) == 1 for of_clip in splits)
    assert {str(split) for of_clip in splits for split in of_clip} == {"train", "val", "test"}


def test_another_seed_is_another_split_of_groups() -> None:
    names = [f"clip {clip}_1" for clip in range(40)]
    rule = GroupSplit(by="prefix")
    assert [rule.assign(Item(n)) for n in names] != [replace(rule, seed=1).assign(Item(n)) for n in names]


def test_a_name_that_tells_no_group_is_rejected_by_name() -> None:
    rejected = GroupSplit(by="^(p[0-9]+)_").assign(Item("eye", "eye"))
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, rejected.item) == ("no_group", "eye")


@pytest.mark.parametrize("by", ["prefx", "prefix:0", "(a)(b)", "(", "none"])
def test_a_grouping_that_groups_nothing_is_refused_with_those_there_are(by: str) -> None:
    with pytest.raises(ConfigError, match="Group by prefix, by prefix:100"):
        GroupSplit(by=by)


def write_frames(place: Path, *, alike: bool) -> list[str]:
    """Three clips of 30 frames, a view that moves by a pixel; or as many pictures that have only their numbers in common."""
    for number, clip in enumerate(CLIPS):
        scene_HWC = np.asarray(Image.fromarray(make_picture(12, 30, number)).resize((300, 120)))
        for k in range(30):
            strange_HWC = make_picture(12, 12, 1000 * number + k).repeat(8, axis=0).repeat(8, axis=1)
            view_HWC = scene_HWC[:96, 5 * k : 5 * k + 96] if alike else strange_HWC
            write_picture(place / f"{clip}{k:05}.png", np.ascontiguousarray(view_HWC))
    return ["build", "gray", str(place), "--set", "resize_px=[64,64]", "--near-duplicates", "keep", "--out"]


def clips_by_split(store: PairStore) -> dict[str, set[str]]:
    return {clip: {r.split for r in store.pairs if r.pair_id.startswith(clip)} for clip in CLIPS}


def test_frames_on_both_sides_of_a_split_by_name_are_hinted_at_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = write_frames(tmp_path / "photos", alike=True)
    assert run([*command, str(tmp_path / "by name")]) == 0
    told = capsys.readouterr().out
    assert "are numbered next to one of train and look like it" in told
    assert "--group-by prefix keeps each clip in one split, --group-by prefix:100 each" in told
    assert any(len(splits) > 1 for splits in clips_by_split(PairStore.open(tmp_path / "by name")).values())


def test_whoever_groups_by_prefix_has_each_clip_in_one_split_and_no_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = write_frames(tmp_path / "photos", alike=True)
    fractions = ["--fractions", "0.4,0.3,0.3", "--seed", "1"]
    assert run([*command, str(tmp_path / "grouped"), "--group-by", "prefix", *fractions]) == 0
    store = PairStore.open(tmp_path / "grouped")
    assert [len(splits) for splits in clips_by_split(store).values()] == [1, 1, 1]
    assert store.manifest.split_rule["by"] == "prefix"
    assert "frames of clips" not in capsys.readouterr().out


def test_too_few_groups_for_every_split_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = write_frames(tmp_path / "photos", alike=True)
    assert run([*command, str(tmp_path / "pairs"), "--group-by", "prefix", "--fractions", "0.98,0.01,0.01"]) == 0
    assert (
        "hint: Names tell only 3 groups by prefix: stretches of numbers are more, --group-by prefix:100"
        in capsys.readouterr().out
    )


def test_nothing_is_hinted_where_neighbours_by_number_are_strangers_or_the_user_said_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*write_frames(tmp_path / "strangers", alike=False), str(tmp_path / "one")]) == 0
    assert run([*write_frames(tmp_path / "frames", alike=True), str(tmp_path / "two"), "--group-by", "none"]) == 0
    assert "hint: " not in capsys.readouterr().out


def test_a_split_by_name_without_groups_is_the_rule_it_was(tmp_path: Path) -> None:
    """So that stores that were built before are found unchanged."""
    assert run([*write_frames(tmp_path / "photos", alike=False), str(tmp_path / "pairs"), "--group-by", "none"]) == 0
    assert set(PairStore.open(tmp_path / "pairs").manifest.split_rule) == {
        "near_duplicates",
        "min_similarity",
        "kind",
        "fractions",
        "seed",
    }


def test_groups_of_names_in_a_split_by_ground_are_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = write_frames(tmp_path / "photos", alike=False)
    assert run([*command, str(tmp_path / "pairs"), "--split", "directory", "--group-by", "prefix"]) == 2
    assert "Leave out --group-by" in capsys.readouterr().err


def test_near_duplicates_take_their_group_along(tmp_path: Path) -> None:
    """One frame of two clips is the same view: both clips end in one split."""
    command = write_frames(tmp_path / "photos", alike=True)[:-3]
    bright_HWC = np.asarray(Image.open(tmp_path / "photos" / f"{CLIPS[0]}00010.png")).astype(int) * 97 // 100
    write_picture(tmp_path / "photos" / f"{CLIPS[1]}00030.png", bright_HWC.astype(np.uint8))
    for seed in range(6):
        out = tmp_path / f"{seed}"
        options = ["--group-by", "prefix", "--near-duplicates", "move", "--seed", str(seed), "--fractions", "0.4,0.3,0.3"]
        assert run([*command, "--out", str(out), *options]) == 0
        by_clip = clips_by_split(PairStore.open(out))
        assert len(by_clip[CLIPS[0]]) == 1
        assert by_clip[CLIPS[0]] == by_clip[CLIPS[1]]
