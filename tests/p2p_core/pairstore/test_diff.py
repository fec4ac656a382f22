"""What `diff` finds between two stores made by hand, each difference told from every other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2p_core.errors import StoreError, UsageError
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.diff import StoreDiff, diff_stores, diff_versions
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.manifest import Manifest, version_name
from p2p_core.pairstore.versions import set_current

Entry = tuple[str, str, np.ndarray, np.ndarray]
Compare = Callable[[list[Entry]], StoreDiff]

LISTS = ("settings", "added", "removed", "changed", "moved", "renamed", "rejected", "no_longer_rejected")


def found_in(diff: StoreDiff) -> dict[str, list[Any]]:
    """The lists that are not empty, as plain values."""
    return {name: [item.model_dump() for item in getattr(diff, name)] for name in LISTS if getattr(diff, name)}


@pytest.fixture
def compare(
    store: Path, tmp_path: Path, layout: StoreLayout, make_store: Callable[[Path, list[Entry], StoreLayout], Manifest]
) -> Compare:
    """Entries -> the difference from the store of all entries to theirs."""

    def compared(changed: list[Entry]) -> StoreDiff:
        make_store(tmp_path / "changed", changed, layout)
        return diff_stores(store, tmp_path / "changed")

    return compared


def test_the_same_content_built_elsewhere_is_the_same(compare: Compare, entries: list[Entry]) -> None:
    diff = compare(entries)
    assert diff.is_empty
    assert found_in(diff) == {}
    assert diff.num_unchanged == 31
    assert diff.before.digest == diff.after.digest
    assert list(diff.after.counts.items()) == [("train", 19), ("val", 6), ("test", 6)]


def test_pairs_that_come_and_go_are_named_with_their_split(compare: Compare, entries: list[Entry]) -> None:
    _, _, input_HWC, target_HWC = entries[0]
    new = ("val", "source999", input_HWC ^ 255, target_HWC)
    diff = compare([*entries[:3], *entries[5:], new])
    assert found_in(diff) == {
        "added": [{"pair_id": "source999/pair", "split": "val"}],
        "removed": [{"pair_id": "source003/pair", "split": "val"}, {"pair_id": "source004/pair", "split": "test"}],
    }
    assert diff.num_unchanged == 29
    assert not diff.is_empty


@pytest.mark.parametrize(("half", "parts"), [(2, ("input",)), (3, ("target",))])
def test_a_changed_pixel_is_found_in_its_half(compare: Compare, entries: list[Entry], half: int, parts: tuple[str]) -> None:
    entry = [*entries[7]]
    entry[half] = entry[half].copy()
    entry[half][3, 4, 0] ^= 1
    diff = compare([*entries[:7], tuple(entry), *entries[8:]])  # type: ignore[list-item]
    assert found_in(diff) == {"changed": [{"pair_id": "source007/pair", "split": "train", "parts": parts}]}
    assert diff.num_unchanged == 30


def test_a_pair_that_moves_is_told_from_one_that_moves_and_changes(compare: Compare, entries: list[Entry]) -> None:
    moved = ("test", *entries[0][1:])
    both = ("val", entries[1][1], entries[1][2] ^ 255, entries[1][3])
    diff = compare([moved, both, *entries[2:]])
    assert found_in(diff) == {
        "changed": [{"pair_id": "source001/pair", "split": "val", "parts": ("input",)}],
        "moved": [
            {"pair_id": "source000/pair", "split": "test", "was_id": "source000/pair", "was_split": "train"},
            {"pair_id": "source001/pair", "split": "val", "was_id": "source001/pair", "was_split": "train"},
        ],
    }
    assert diff.num_unchanged == 29


def test_a_pair_is_known_by_its_pictures_where_its_id_changed(compare: Compare, entries: list[Entry]) -> None:
    """As a picture's does that goes from the directory train to val: a leak would be missed among removed and added."""
    first, second = entries[0], entries[1]
    diff = compare([("val", "sourceA00", *first[2:]), ("train", "sourceA01", *second[2:]), *entries[2:]])
    moved = {"pair_id": "sourceA00/pair", "split": "val", "was_id": "source000/pair", "was_split": "train"}
    renamed = {"pair_id": "sourceA01/pair", "split": "train", "was_id": "source001/pair", "was_split": "train"}
    assert found_in(diff) == {"moved": [moved], "renamed": [renamed]}
    assert diff.num_unchanged == 29


def test_pairs_of_the_same_pictures_are_not_guessed_at(compare: Compare, entries: list[Entry]) -> None:
    _, _, input_HWC, target_HWC = entries[0]
    twins = [("train", name, input_HWC, target_HWC) for name in ("sourceA00", "sourceB00")]
    diff = compare([*twins, *entries[1:]])
    assert {name: [item["pair_id"] for item in items] for name, items in found_in(diff).items()} == {
        "added": ["sourceA00/pair", "sourceB00/pair"],
        "removed": ["source000/pair"],
    }


def test_other_settings_are_named_with_both_values(store: Path) -> None:
    before = PairStore.open(store)
    changes = {
        "parameters": {"resize_px": [16, 16], "quality": {"min_std": 1.0}},
        "split_rule": {"kind": "name", "seed": 3},
        "builder_version": 2,
    }
    after = PairStore(before.version_path, before.manifest.model_copy(update=changes))
    assert found_in(diff_versions(before, after)) == {
        "settings": [
            {"name": "builder_version", "before": 1, "after": 2},
            {"name": "parameters.colour", "before": "any", "after": None},
            {"name": "parameters.quality.min_std", "before": None, "after": 1.0},
            {"name": "parameters.resize_px", "before": None, "after": [16, 16]},
            {"name": "split_rule.kind", "before": "directory", "after": "name"},
            {"name": "split_rule.seed", "before": None, "after": 3},
        ]
    }


def test_rejections_that_come_and_go_have_their_reasons(compare: Compare, entries: list[Entry], layout: StoreLayout) -> None:
    """The made stores reject one item in each bucket that has pairs."""
    gone = {layout.bucket_of(entry[1]) for entry in entries} - {1, 2}
    diff = compare([entry for entry in entries if layout.bucket_of(entry[1]) in gone])
    assert [item.model_dump() for item in diff.no_longer_rejected] == [
        {"source_id": f"bad{bucket}", "item": f"item{bucket}", "reason": "blank", "detail": "All of it is white"}
        for bucket in (1, 2)
    ]
    assert diff.rejected == ()


def test_no_picture_is_read(store: Path, version: Path) -> None:
    for shard in version.rglob("c/*/0/0/0"):
        shard.write_bytes(b"?" * shard.stat().st_size)
    assert diff_stores(store, version).is_empty


@pytest.fixture
def versions(store: Path, entries: list[Entry], layout: StoreLayout, make_store: Callable[..., Manifest]) -> list[str]:
    """Three versions of the store, oldest first: of 31, 30 and 29 pairs."""
    names = [PairStore.open(store).version_path.name]
    return [*names, *(version_name(make_store(store, entries[:count], layout).digest) for count in (30, 29))]


def test_of_one_store_its_current_version_is_compared_with_the_one_before(store: Path, versions: list[str]) -> None:
    diff = diff_stores(store)
    assert [diff.before.path.name, diff.after.path.name] == versions[1:]
    assert [pair.pair_id for pair in diff.removed] == ["source029/pair"]


def test_the_version_before_is_the_one_that_was_current_not_the_one_that_was_made(store: Path, versions: list[str]) -> None:
    first, second, third = versions
    for name, before in ((first, third), (second, first), (third, second), (first, third)):
        set_current(store, store / "versions" / name)
        diff = diff_stores(store)
        assert (diff.before.path.name, diff.after.path.name) == (before, name)


def test_versions_are_named_by_their_digest_its_beginning_or_their_directory(store: Path, versions: list[str]) -> None:
    first, second, _ = versions
    digest = PairStore.open(store / "versions" / second).manifest.digest
    for name in (
        Path(f"{store}@{second}"),
        Path(f"{store}@{digest}"),
        Path(f"{store}@{second[:6]}"),
        store / "versions" / second,
    ):
        diff = diff_stores(Path(f"{store}@{first}"), name)
        assert (diff.before.path.name, diff.after.path.name) == (first, second)


def test_a_version_that_is_not_there_names_those_that_are(store: Path, versions: list[str]) -> None:
    for wanted in ("zzz", ""):
        with pytest.raises(StoreError, match=rf"has no version '{wanted}'\. Use one of: .*{versions[2]}"):
            diff_stores(Path(f"{store}@{wanted}"), store)
    (store / "versions" / versions[0]).rename(store / "versions" / f"{versions[1][:3]}0")
    with pytest.raises(StoreError, match=rf"has 2 versions '{versions[1][:3]}'"):
        diff_stores(Path(f"{store}@{versions[1][:3]}"), store)


def test_nothing_to_compare_with_is_said(store: Path, version: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=rf"has no version but {version.name}"):
        diff_stores(store)
    with pytest.raises(UsageError, match="is one version"):
        diff_stores(version)
    with pytest.raises(UsageError, match="is one version"):
        diff_stores(Path(f"{store}@{version.name}"))
    for place in ("nowhere", "nowhere@12"):
        with pytest.raises(StoreError, match="is not a pair store"):
            diff_stores(tmp_path / place, store)


@pytest.mark.parametrize("table", ["pairs.parquet", "rejected.parquet"])
def test_a_damaged_table_is_named(store: Path, version: Path, table: str) -> None:
    data = bytearray((version / table).read_bytes())
    data[len(data) // 2] ^= 255
    (version / table).write_bytes(data)
    with pytest.raises(StoreError, match=rf"{table} is damaged"):
        diff_stores(store, version)
