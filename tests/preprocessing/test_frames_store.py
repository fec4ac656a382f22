"""Stores of frames: the same bytes with any workers, clips whole in one split, and only what changed built again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import build_dataset
from preprocessing.frames import FramesBuilder, FramesParameters
from preprocessing.split import DirectorySplit, Fractions, SourceSplit

LAYOUT = StoreLayout(num_buckets=4, pairs_per_shard=4)
SPLIT = SourceSplit(fractions=Fractions(train=0.6, val=0.2, test=0.2))
NAMES = [*(f"clip {i}" for i in range(8)), "прогулка", "散歩", "tiefer/läuft"]


def builder_of(root: Path) -> FramesBuilder:
    return FramesBuilder((root / "A", root / "B"), FramesParameters(resize_px=(24, 32)))


@pytest.fixture
def clips(tmp_path: Path, save_clip: Callable[..., Path]) -> Path:
    """Eleven clips of six frames, lossy as clips are; one is cut, one has another rate."""
    root = tmp_path / "clips"
    for i, name in enumerate(NAMES):
        save_clip(root / "A" / f"{name}.avi", range(i, i + 6), codec="MJPG", fps=25 if i else 12.5)
        save_clip(root / "B" / f"{name}.mp4", range(i, i + 6), codec="mp4v")
    path = root / "A" / "clip 3.avi"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    return root


def test_two_workers_and_another_place_make_the_same_bytes(tmp_path, clips, tree) -> None:
    build_dataset(builder_of(clips), tmp_path / "serial", SPLIT, layout=LAYOUT)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        build_dataset(builder_of(clips), tmp_path / "processes", SPLIT, layout=LAYOUT, executor=executor)
    moved = clips.rename(tmp_path / "moved")
    build_dataset(builder_of(moved), tmp_path / "elsewhere", SPLIT, layout=LAYOUT)
    expected = tree(tmp_path / "serial")
    assert len(expected) > 20
    assert tree(tmp_path / "processes") == expected
    assert tree(tmp_path / "elsewhere") == expected
    assert verify_store(tmp_path / "serial") == []


def test_all_frames_of_a_clip_are_in_one_split_and_every_split_has_some(tmp_path, clips) -> None:
    build_dataset(builder_of(clips), tmp_path / "store", SPLIT, layout=LAYOUT)
    store = PairStore.open(tmp_path / "store")
    splits = {name: {record.split for record in store.pairs if record.source_id == name} for name in NAMES}
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "val", "test"}
    assert sum(record.source_id == "散歩" for record in store.pairs) == 6
    assert {rejected.source_id for rejected in store.rejected} == {"clip 0", "clip 3"}


def test_a_changed_clip_rewrites_only_its_own_shards(tmp_path, clips, save_clip) -> None:
    first = build_dataset(builder_of(clips), tmp_path / "store", SPLIT, layout=LAYOUT)
    before = {path.relative_to(first.version_path): path.stat().st_ino for path in first.version_path.rglob("c/*/0/0/0")}
    assert build_dataset(builder_of(clips), tmp_path / "store", SPLIT, layout=LAYOUT).unchanged
    save_clip(clips / "B" / "clip 5.mp4", [*range(5, 10), 77], codec="mp4v")
    second = build_dataset(builder_of(clips), tmp_path / "store", SPLIT, layout=LAYOUT)
    assert (second.num_buckets_built, second.num_buckets_reused) == (1, first.num_buckets_built - 1)
    after = {path.relative_to(second.version_path): path.stat().st_ino for path in second.version_path.rglob("c/*/0/0/0")}
    own = {name for name in after if int(name.parts[3]) % LAYOUT.num_buckets == LAYOUT.bucket_of("clip 5")}
    assert own
    assert {name for name in after if before.get(name) != after[name]} == own
    fresh = build_dataset(builder_of(clips), tmp_path / "fresh", SPLIT, layout=LAYOUT)
    assert fresh.digest == second.digest


def test_a_picture_that_is_renumbered_changes_its_clip(tmp_path, save_clip, save_numbered) -> None:
    save_clip(tmp_path / "B" / "a.avi", range(4))
    for number in range(3):
        save_numbered(tmp_path / "A" / "a" / f"{number + 1}.png", number)
    (before,) = builder_of(tmp_path).sources()
    (tmp_path / "A" / "a" / "3.png").rename(tmp_path / "A" / "a" / "4.png")
    (after,) = builder_of(tmp_path).sources()
    assert before.digest != after.digest


def test_directories_train_val_and_test_keep_their_clips(tmp_path, save_clip) -> None:
    for i, split in enumerate(("train", "val", "test", "train")):
        for side in ("A", "B"):
            save_clip(tmp_path / side / split / f"{i}.avi", range(i, i + 3))
    summary = build_dataset(builder_of(tmp_path), tmp_path / "store", DirectorySplit(near_duplicates="keep"), layout=LAYOUT)
    assert summary.counts == {"train": 6, "val": 3, "test": 3}


def test_the_stored_pixels_are_the_frames(tmp_path, clips, number_in) -> None:
    build_dataset(builder_of(clips), tmp_path / "store", SPLIT, layout=LAYOUT)
    store = PairStore.open(tmp_path / "store")
    for split in ("train", "val", "test"):
        input_NHWC, target_NHWC = store.split(split).read_all()
        told = [(number_in(i), number_in(t)) for i, t in zip(input_NHWC, target_NHWC, strict=True)]
        assert told
        assert all(t == i or t == 2 * i for i, t in told)  # clip 0 has half the rate
