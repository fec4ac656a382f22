from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from p2p_core.errors import StoreError
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.writer import BucketWriter, link_bucket, read_bucket

Entry = tuple[str, str, np.ndarray, np.ndarray]


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_every_pair_is_read_back_as_it_was_written(store: Path, entries: list[Entry]) -> None:
    opened = PairStore.open(store)
    written = {source_id: (input_HWC, target_HWC) for _, source_id, input_HWC, target_HWC in entries}
    assert opened.manifest.counts == {"train": 19, "val": 6, "test": 6}
    for name, count in opened.manifest.counts.items():
        split = opened.split(name)
        assert len(split) == len(split.records) == count
        input_NHWC, target_NHWC = split.read_all()
        for i, record in enumerate(split.records):
            input_HWC, target_HWC = split.read(i)
            expected_input, expected_target = written[record.source_id]
            np.testing.assert_array_equal(input_HWC, expected_input)
            np.testing.assert_array_equal(target_HWC, expected_target)
            np.testing.assert_array_equal(input_NHWC[i], expected_input)
            np.testing.assert_array_equal(target_NHWC[i], expected_target)


def test_black_pictures_are_read_back_although_zarr_does_not_write_them(
    tmp_path: Path, make_store: Callable[..., Any], layout: StoreLayout
) -> None:
    black = np.zeros((8, 12, 3), np.uint8), np.zeros((8, 12, 1), np.uint8)
    white = np.full((8, 12, 3), 255, np.uint8), np.full((8, 12, 1), 255, np.uint8)
    make_store(tmp_path, [("train", "a", *black), ("train", "b", *white), ("val", "c", *black)], layout)
    opened = PairStore.open(tmp_path)
    by_source = {record.source_id: opened.split("train").read(i) for i, record in enumerate(opened.split("train").records)}
    assert by_source["a"][0].max() == 0
    assert by_source["b"][1].min() == 255
    assert opened.split("val").read_all()[0].shape == (1, 8, 12, 3)
    assert opened.split("val").read_all()[0].max() == 0


def test_anybody_with_zarr_can_read_it(version: Path, entries: list[Entry]) -> None:
    group = zarr.open_group(version, mode="r")
    array = group["train/input"]
    assert isinstance(array, zarr.Array)
    assert array.chunks == (1, 8, 12, 3)
    assert array.shards == (3, 8, 12, 3)
    record = PairStore.open(version).split("train").records[0]
    expected = next(e[2] for e in entries if e[1] == record.source_id)
    np.testing.assert_array_equal(np.asarray(array[record.slot]), expected)


def test_tables_say_where_pairs_come_from_and_why_others_are_not_there(store: Path, entries: list[Entry]) -> None:
    opened = PairStore.open(store)
    assert {record.source_id for record in opened.pairs} == {e[1] for e in entries}
    assert {source.source_id: source.digest for source in opened.sources} == {e[1]: f"digest of {e[1]}" for e in entries}
    assert {(r.item, r.reason) for r in opened.rejected} == {(f"item{bucket}", "blank") for bucket in range(4)}
    assert opened.manifest.rejected == {"blank": 4}
    record = opened.pairs[0]
    assert record.window is not None
    assert record.window.width_px == 12
    assert record.attributes == {"ü": "1"}


def test_statistics_are_those_of_the_training_split(store: Path, entries: list[Entry]) -> None:
    manifest = PairStore.open(store).manifest
    train = np.stack([e[2] for e in entries if e[0] == "train"]).astype(np.float64)
    assert manifest.input_statistics is not None
    np.testing.assert_allclose(manifest.input_statistics.mean, train.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(manifest.input_statistics.std, train.std(axis=(0, 1, 2)))
    assert manifest.target_statistics is not None
    assert len(manifest.target_statistics.mean) == 1


def test_a_split_goes_to_another_process_as_a_path(store: Path) -> None:
    split = PairStore.open(store).split("test")
    data = pickle.dumps(split)
    assert len(data) < 20_000
    np.testing.assert_array_equal(pickle.loads(data).read(2)[0], split.read(2)[0])


def test_the_same_pairs_make_the_same_bytes_anywhere(
    tmp_path: Path, store: Path, entries: list[Entry], layout: StoreLayout, make_store: Callable[..., Any]
) -> None:
    elsewhere = tmp_path / "quite" / "elsewhere"
    make_store(elsewhere, entries, layout)
    assert tree(elsewhere) == tree(store)


def test_the_digest_is_of_the_content(
    tmp_path: Path, store: Path, entries: list[Entry], layout: StoreLayout, make_store: Callable[..., Any]
) -> None:
    changed = [(split, source, input_HWC.copy(), target_HWC) for split, source, input_HWC, target_HWC in entries]
    changed[7][2][3, 4, 1] ^= 1
    assert make_store(tmp_path / "other", changed, layout).digest != PairStore.open(store).manifest.digest


def test_a_split_without_pairs_names_those_with(
    tmp_path: Path, entries: list[Entry], layout: StoreLayout, make_store: Callable[..., Any]
) -> None:
    make_store(tmp_path, [e for e in entries if e[0] == "val"], layout)
    opened = PairStore.open(tmp_path)
    for name in ("train", "traain"):
        with pytest.raises(StoreError, match=rf"no pairs in split '{name}'.*val \(6 pairs\)"):
            opened.split(name)
    assert opened.manifest.input_statistics is None


def test_what_is_no_store_is_refused_with_the_reason(tmp_path: Path, store: Path) -> None:
    with pytest.raises(StoreError, match="is not a pair store"):
        PairStore.open(tmp_path / "nowhere")
    (tmp_path / "file").write_text("hello")
    with pytest.raises(StoreError, match="is not a pair store"):
        PairStore.open(tmp_path / "file")
    shutil.rmtree(store / "versions")
    with pytest.raises(StoreError, match="which is not there"):
        PairStore.open(store)


def test_an_interrupted_build_is_told_from_no_store(tmp_path: Path) -> None:
    (tmp_path / "building" / "0123").mkdir(parents=True)
    with pytest.raises(StoreError, match="its build was interrupted"):
        PairStore.open(tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_shard_that_is_missing_or_short_does_not_read_as_black(version: Path, damage: str) -> None:
    shard = next(path for path in sorted(version.glob("train/input/c/**/*")) if path.is_file())
    if damage == "missing":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(StoreError, match="is missing or cut short"):
        PairStore.open(version)


def test_a_flipped_byte_in_a_picture_raises_instead_of_showing_noise(version: Path) -> None:
    opened = PairStore.open(version).split("train")
    shard = version / "train" / "input" / "c" / str(opened.records[0].slot // 3) / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[100] ^= 0x10
    shard.write_bytes(data)
    with pytest.raises(StoreError, match="p2p verify"):
        opened.read(0)
    with pytest.raises(StoreError, match="p2p verify"):
        opened.read_all()


def test_pairs_out_of_order_are_refused(tmp_path: Path, layout: StoreLayout, entries: list[Entry]) -> None:
    writer = BucketWriter(tmp_path, layout, 0, "key")
    writer.add("train", "b", "b", entries[0][2], entries[0][3])
    for source_id, pair_id in (("a", "z"), ("b", "b"), ("b", "a")):
        with pytest.raises(ValueError, match="comes after"):
            writer.add("train", source_id, pair_id, entries[0][2], entries[0][3])


def test_a_bucket_counts_only_if_it_is_finished_undamaged_and_of_the_same_key(
    tmp_path: Path, layout: StoreLayout, entries: list[Entry]
) -> None:
    writer = BucketWriter(tmp_path, layout, 1, "key")
    for _, source_id, input_HWC, target_HWC in entries[:5]:
        writer.add("train", source_id, source_id, input_HWC, target_HWC)
    assert read_bucket(tmp_path, 1, "key") is None
    commit = writer.commit()
    assert read_bucket(tmp_path, 1, "key") == commit
    assert read_bucket(tmp_path, 1, "other key") is None
    assert read_bucket(tmp_path, 2, "key") is None

    link_bucket(tmp_path, tmp_path / "linked", commit)
    assert read_bucket(tmp_path / "linked", 1, "key") == commit
    name = next(iter(commit.files))
    assert (tmp_path / "linked" / name).samefile(tmp_path / name)
    (tmp_path / name).write_bytes(b"damage")
    assert read_bucket(tmp_path, 1, "key") is None
