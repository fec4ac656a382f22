from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from p2p_core.errors import EmptySourceError
from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.versions import DIGESTS
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import DirectorySplit, Fractions, NameSplit

LAYOUT = StoreLayout(num_buckets=5, pairs_per_shard=4)
SPLIT = NameSplit(fractions=Fractions(train=0.6, val=0.2, test=0.2))
SIDE_BY_SIDE = FoldersParameters(layout="side_by_side")


class Backwards:
    """Results come in another order than the items."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        return map(function, list(items)[::-1])


def inodes(version: Path) -> dict[str, int]:
    return {path.relative_to(version).as_posix(): path.stat().st_ino for path in version.rglob("*") if path.is_file()}


def content(**changes: list[int | None]) -> dict[str, list[int | None]]:
    return {**{f"s{i:02d}": [100 * i + k for k in range(1 + i % 4)] for i in range(24)}, **changes}


def test_every_pair_is_in_one_split_or_among_the_rejected(tmp_path, made_builder) -> None:
    summary = build_dataset(made_builder(content(s03=[1, None, 3])), tmp_path, SPLIT, layout=LAYOUT)
    store = PairStore.open(tmp_path)
    assert sum(summary.counts.values()) == sum(1 + i % 4 for i in range(24)) - 2
    assert {record.pair_id: record.split for record in store.pairs} == {r.pair_id: SPLIT.assign(r) for r in store.pairs}
    assert [(record.item, record.reason) for record in store.rejected] == [("s03/001", "made_bad")]
    assert summary.rejected == store.manifest.rejected == {"made_bad": 1}
    assert list(summary.counts) == ["train", "val", "test"]
    assert summary.num_buckets_built == len({LAYOUT.bucket_of(name) for name in content()})
    assert verify_store(tmp_path) == []


def test_any_executor_and_any_order_of_sources_make_the_same_bytes(tmp_path, photos, tree) -> None:
    builder = FoldersBuilder((photos,), SIDE_BY_SIDE)
    build_dataset(builder, tmp_path / "serial", SPLIT, layout=LAYOUT)
    build_dataset(builder, tmp_path / "backwards", SPLIT, layout=LAYOUT, executor=Backwards())
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        build_dataset(builder, tmp_path / "processes", SPLIT, layout=LAYOUT, executor=executor)
    moved = photos.rename(tmp_path / "moved")
    build_dataset(FoldersBuilder((moved,), SIDE_BY_SIDE), tmp_path / "elsewhere", SPLIT, layout=LAYOUT)
    expected = tree(tmp_path / "serial")
    assert len(expected) > 20
    for other in ("backwards", "processes", "elsewhere"):
        assert tree(tmp_path / other) == expected


def test_a_rerun_decodes_nothing_and_leaves_every_file_alone(tmp_path, made_builder) -> None:
    first = build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name not in (".lock", DIGESTS)}
    again = made_builder(content())
    second = build_dataset(again, tmp_path, SPLIT, layout=LAYOUT)
    assert second.unchanged
    assert not first.unchanged
    assert again.built == []
    assert (second.digest, second.counts, second.version_path) == (first.digest, first.counts, first.version_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.name not in (".lock", DIGESTS)} == before


@pytest.mark.parametrize(
    "change",
    [{"s07": [700, 701, 702]}, {"s07": [700, 701, 7, 703]}, {"s07": [700, 701, 702, None]}, {"s99": [9]}],
    ids=["fewer", "other", "rejected", "added"],
)
def test_a_changed_source_rewrites_its_buckets_shards_and_no_others(tmp_path, made_builder, change, tree) -> None:
    first = build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT)
    builder = made_builder(content(**change))
    second = build_dataset(builder, tmp_path, SPLIT, layout=LAYOUT)
    bucket = LAYOUT.bucket_of(next(iter(change)))
    assert set(builder.built) == {name for name in builder.content if LAYOUT.bucket_of(name) == bucket}
    assert (second.num_buckets_built, second.num_buckets_reused) == (1, first.num_buckets_built - 1)
    old, new = inodes(first.version_path), inodes(second.version_path)
    shards = {name: int(name.split("/")[3]) for name in old | new if "/c/" in name}
    assert all(old[n] == new[n] for n, shard in shards.items() if shard % LAYOUT.num_buckets != bucket)
    assert all(old.get(n) != new.get(n) for n, shard in shards.items() if shard % LAYOUT.num_buckets == bucket)
    build_dataset(made_builder(content(**change)), tmp_path / "fresh" / "store", SPLIT, layout=LAYOUT)
    assert tree(second.version_path) == tree(PairStore.open(tmp_path / "fresh" / "store").version_path)
    assert verify_store(first.version_path) == []


def test_other_parameters_split_or_code_rebuild_everything(tmp_path, made_builder) -> None:
    build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT)
    bright = type(made_builder({}).parameters)(brightness=9)
    for builder, rule in (
        (made_builder(content(), parameters=bright), SPLIT),
        (made_builder(content()), NameSplit(fractions=SPLIT.fractions, seed=1)),
        (made_builder(content(), version=2), SPLIT),
    ):
        summary = build_dataset(builder, tmp_path, rule, layout=LAYOUT)
        assert summary.num_buckets_reused == 0
        assert len(builder.built) == 24


def test_going_back_to_what_was_built_before_builds_nothing(tmp_path, made_builder) -> None:
    first = build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT)
    build_dataset(made_builder(content(s99=[1])), tmp_path, SPLIT, layout=LAYOUT)
    builder = made_builder(content())
    back = build_dataset(builder, tmp_path, SPLIT, layout=LAYOUT)
    assert builder.built == []
    assert not back.unchanged
    assert PairStore.open(tmp_path).version_path == back.version_path == first.version_path


def test_what_is_remembered_of_files_hides_no_damage(tmp_path, made_builder, monkeypatch, tree) -> None:
    first = build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT)
    expected, now_ns = tree(tmp_path), time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + 10 * 10**9)  # the files are old now, and will be remembered
    assert build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT).unchanged
    known = json.loads((tmp_path / DIGESTS).read_bytes())
    assert len(known) == len(tree(first.version_path)) - 1  # all but the manifest, which has its own digest
    shard = next(path for path in sorted(first.version_path.rglob("c/*/0/0/0")))
    times, data = shard.stat(), bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0x40
    shard.write_bytes(data)
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert not build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT).unchanged
    assert tree(tmp_path) == expected


@pytest.mark.parametrize("victim", ["train/input/c", "pairs.parquet", "manifest.json", "current"])
def test_a_damaged_store_is_mended_by_building_again(tmp_path, made_builder, victim, tree) -> None:
    first = build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT)
    expected = tree(tmp_path)
    files = [path for path in (first.version_path / victim, tmp_path / victim) if path.is_file()]
    file = files[0] if files else next(p for p in sorted((first.version_path / victim).rglob("*")) if p.is_file())
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0x40
    file.write_bytes(data)
    builder = made_builder(content())
    build_dataset(builder, tmp_path, SPLIT, layout=LAYOUT)
    assert tree(tmp_path) == expected
    if "/c" in victim:
        assert len({LAYOUT.bucket_of(name) for name in builder.built}) == 1


@pytest.mark.parametrize(("written", "damaged"), [(b'"num_pixels": ', b'"num_pixels": 1'), (b'"bucket": ', b'"bucket":\t')])
def test_a_bucket_whose_record_is_damaged_is_not_taken_over_by_the_next_version(
    tmp_path, made_builder, written, damaged, tree
) -> None:
    first = build_dataset(made_builder(content()), tmp_path / "store", SPLIT, layout=LAYOUT)
    record = next(path for path in sorted((first.version_path / "buckets").iterdir()) if written in path.read_bytes())
    record.write_bytes(record.read_bytes().replace(written, damaged, 1))
    more = content(s99=[9])
    second = build_dataset(made_builder(more), tmp_path / "store", SPLIT, layout=LAYOUT)
    clean = build_dataset(made_builder(more), tmp_path / "clean", SPLIT, layout=LAYOUT)
    assert tree(second.version_path) == tree(clean.version_path)
    assert second.num_buckets_reused >= 2
    assert not verify_store(second.version_path)


def test_links_are_copies_where_the_file_system_has_none(tmp_path, made_builder, monkeypatch) -> None:
    build_dataset(made_builder(content()), tmp_path, SPLIT, layout=LAYOUT)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    summary = build_dataset(made_builder(content(s99=[9])), tmp_path, SPLIT, layout=LAYOUT)
    assert summary.num_buckets_reused == 4
    assert verify_store(tmp_path) == []


def test_progress_counts_buckets_to_the_end(tmp_path, made_builder) -> None:
    class Seen:
        def __init__(self) -> None:
            self.done: list[int] = []

        def update(self, done: int, note: str = "") -> None:
            assert "reused" in note
            self.done.append(done)

    seen = Seen()
    build_dataset(made_builder({"a": [1], "b": [2]}), tmp_path, SPLIT, layout=LAYOUT, progress=seen)
    assert seen.done[-1] == LAYOUT.num_buckets
    assert seen.done == sorted(seen.done)


def test_a_dataset_of_rejections_only_is_refused_and_nothing_is_published(tmp_path, made_builder) -> None:
    with pytest.raises(EmptySourceError, match=r"Every one of 3 items was rejected; a/000, for one: It was made so"):
        build_dataset(made_builder({"a": [None, None], "b": [None]}), tmp_path, SPLIT, layout=LAYOUT)
    with pytest.raises(EmptySourceError, match="hold no pair"):
        build_dataset(made_builder({"a": []}), tmp_path, SPLIT, layout=LAYOUT)
    assert not (tmp_path / "current").exists()


def test_a_builder_that_breaks_its_word_is_found_out_and_leaves_no_thread_behind(tmp_path, made_builder) -> None:
    class TooMany(made_builder):
        def sources(self):
            return [type(s)(s.source_id, s.digest, 1, {}) for s in super().sources()]

    before = threading.enumerate()
    with pytest.raises(ValueError, match="gave 2 pairs, more than its max_pairs 1") as caught:
        build_dataset(TooMany({"a": [1, 2]}), tmp_path, SPLIT, layout=LAYOUT)
    assert caught.tb  # which still holds all that the build held
    assert [thread for thread in threading.enumerate() if thread not in before] == []


def test_pictures_in_no_split_directory_are_rejected_not_lost(tmp_path, photos) -> None:
    (photos / "train").mkdir()
    for i in range(10):
        (photos / f"{i:03d}.png").rename(photos / "train" / f"{i:03d}.png")
    summary = build_dataset(FoldersBuilder((photos,), SIDE_BY_SIDE), tmp_path / "store", DirectorySplit(), layout=LAYOUT)
    assert summary.counts == {"train": 9, "val": 0, "test": 0}
    assert summary.rejected == {"empty": 1, "no_split": 28, "truncated": 1, "unreadable": 1}
