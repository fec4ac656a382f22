"""Pairs that show nearly the same do not lie on both sides of a split."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from skimage import data as photos_of_skimage

from p2p_core.errors import EmptySourceError
from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.layout import SPLITS, StoreLayout
from p2p_core.pairstore.schema import AssignedRecord, Settlement, assigned_table
from preprocessing.build import build_dataset
from preprocessing.gray import GrayBuilder
from preprocessing.near_duplicates import FINGERPRINT_BYTES, fingerprint, settlements
from preprocessing.sizing import PictureParameters
from preprocessing.split import DirectorySplit, Fractions, NameSplit

LAYOUT = StoreLayout(num_buckets=4, pairs_per_shard=4)
NAMES = ("astronaut", "coffee", "chelsea", "rocket", "immunohistochemistry", "retina", "hubble_deep_field", "colorwheel")
Pixels = np.ndarray


def photo(name: str) -> Pixels:
    return np.asarray(getattr(photos_of_skimage, name)())[..., :3]


def encoded_again(picture: Pixels) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=40)
    return np.asarray(Image.open(buffer))


def halved(picture: Pixels) -> Pixels:
    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def brighter(picture: Pixels) -> Pixels:
    return np.asarray(ImageEnhance.Brightness(Image.fromarray(picture)).enhance(1.1))


def similarity(first: bytes, second: bytes) -> float:
    a, b = (int.from_bytes(data, "big") for data in (first, second))
    return (a & b).bit_count() / max(1, (a | b).bit_count())


@pytest.mark.parametrize("change", [encoded_again, halved, brighter])
@pytest.mark.parametrize("name", NAMES[:6])
def test_a_photo_that_was_changed_a_little_is_nearly_the_same(name: str, change: Callable[[Pixels], Pixels]) -> None:
    changed = change(photo(name))
    assert similarity(fingerprint(photo(name), photo(name)), fingerprint(changed, changed)) > 0.8


def test_different_photos_are_not() -> None:
    prints = [fingerprint(photo(name), photo(name)) for name in NAMES]
    assert max(similarity(a, b) for i, a in enumerate(prints) for b in prints[:i]) < 0.6


def test_one_input_with_two_targets_is_two_pairs() -> None:
    first, second, shown = photo("astronaut"), photo("coffee"), photo("chelsea")
    assert similarity(fingerprint(shown, first), fingerprint(shown, second)) < 0.8


@st.composite
def records(draw: st.DrawFn) -> list[AssignedRecord]:
    """Families of prints that differ in few bits, in random splits and sources; some prints nearly empty."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    made = []
    for number in range(draw(st.integers(1, 24))):
        if number == 0 or rng.random() < 0.4:
            bits = rng.random(FINGERPRINT_BYTES * 8) < rng.choice([0.01, 0.3])
        else:
            bits = bits ^ (rng.random(bits.size) < rng.choice([0.0, 0.02, 0.05]))
        split, source = SPLITS[rng.integers(3)], f"s{rng.integers(9)}"
        made.append(AssignedRecord(f"p{rng.permutation(1000)[0]:03d}-{number}", source, split, np.packbits(bits).tobytes()))
    return made


def judged(record: AssignedRecord) -> bool:
    return int.from_bytes(record.fingerprint, "big").bit_count() >= 48


def splits_after(made: list[AssignedRecord], found: dict[str, Settlement]) -> dict[str, str | None]:
    return {r.pair_id: found[r.pair_id].split if r.pair_id in found else r.split for r in made}


@given(records(), st.booleans(), st.booleans())
def test_after_moving_no_two_splits_hold_nearly_the_same_pair(
    made: list[AssignedRecord], by_hash: bool, by_source: bool
) -> None:
    if by_source:
        made = with_one_split_a_source(made)
    split = splits_after(made, settlements(assigned_table(made), "move", 0.8, by_source=by_source, by_hash=by_hash))
    for a in made:
        for b in made:
            if judged(a) and judged(b) and similarity(a.fingerprint, b.fingerprint) >= 0.8:
                assert split[a.pair_id] == split[b.pair_id]
            if by_source and a.source_id == b.source_id:
                assert split[a.pair_id] == split[b.pair_id]


@given(records(), st.booleans())
def test_a_group_moves_whole_and_only_where_one_of_it_was(made: list[AssignedRecord], by_hash: bool) -> None:
    found = settlements(assigned_table(made), "move", 0.8, by_hash=by_hash)
    graph = {r.pair_id: {o.pair_id for o in made if judged(r) and judged(o) and near(r, o)} | {r.pair_id} for r in made}
    rule = {record.pair_id: record.split for record in made}
    after = splits_after(made, found)
    for pair_id in rule:
        group = {pair_id}
        while (wider := set().union(*(graph[member] for member in group))) != group:
            group = wider
        wanted = rule[min(group)] if by_hash else min((rule[member] for member in group), key=SPLITS.index)
        assert after[pair_id] == wanted
        if pair_id in found:
            assert found[pair_id].near == min(member for member in group if rule[member] == wanted)


def near(a: AssignedRecord, b: AssignedRecord) -> bool:
    return similarity(a.fingerprint, b.fingerprint) >= 0.8


def with_one_split_a_source(made: list[AssignedRecord]) -> list[AssignedRecord]:
    return [AssignedRecord(r.pair_id, r.source_id, SPLITS[int(r.source_id[1:]) % 3], r.fingerprint) for r in made]


@given(records(), st.randoms())
def test_the_order_of_pairs_changes_nothing(made: list[AssignedRecord], random: Any) -> None:
    shuffled = random.sample(made, len(made))
    for policy in ("move", "reject", "keep"):
        assert settlements(assigned_table(made), policy, 0.8) == settlements(assigned_table(shuffled), policy, 0.8)


@given(records())
def test_rejecting_leaves_one_of_each_and_never_the_last(made: list[AssignedRecord]) -> None:
    found = settlements(assigned_table(made), "reject", 0.8)
    kept = [r for r in made if r.pair_id not in found and judged(r)]
    assert all(similarity(a.fingerprint, b.fingerprint) < 0.8 for i, a in enumerate(kept) for b in kept[:i])
    assert {settled.near for settled in found.values()} <= {r.pair_id for r in kept}
    assert all(settled.split is None for settled in found.values())


@pytest.fixture
def photo_dirs(tmp_path: Path) -> Path:
    """Photos in train, val and test; `coffee` of train lies in test again, smaller, `rocket` of val in test, darker."""
    root = tmp_path / "photos"
    for split, names in (("train", NAMES[:3]), ("val", NAMES[3:4]), ("test", NAMES[4:6])):
        (root / split).mkdir(parents=True)
        for name in names:
            Image.fromarray(photo(name)).save(root / split / f"{name}.png")
    Image.fromarray(halved(photo("coffee"))).save(root / "test" / "cup.png")
    Image.fromarray(encoded_again(photo("rocket"))).save(root / "test" / "start.jpg")
    return root


def gray(root: Path) -> GrayBuilder:
    return GrayBuilder((root,), PictureParameters(resize_px=(64, 64)))


def test_near_duplicates_move_to_the_earlier_split_and_say_so(tmp_path: Path, photo_dirs: Path) -> None:
    made = build_dataset(gray(photo_dirs), tmp_path / "store", DirectorySplit(), layout=LAYOUT)

    store = PairStore.open(tmp_path / "store")
    moved = {record.pair_id: record for record in store.pairs if "moved_from" in record.attributes}
    assert {pair_id: (record.split, record.attributes["near_duplicate_of"]) for pair_id, record in moved.items()} == {
        "test/cup": ("train", "train/coffee"),
        "test/start": ("val", "val/rocket"),
    }
    assert made.counts == {"train": 4, "val": 2, "test": 2}
    assert made.num_moved == store.manifest.num_moved == 2
    assert verify_store(tmp_path / "store") == []
    kept = build_dataset(gray(photo_dirs), tmp_path / "kept", DirectorySplit(near_duplicates="keep"), layout=LAYOUT)
    assert kept.counts == {"train": 3, "val": 1, "test": 4}
    pixels = [pixels_by_id(tmp_path / name) for name in ("store", "kept")]
    assert pixels[0] == pixels[1]


def test_moving_large_pairs_decodes_no_whole_shard_at_once(tmp_path: Path, photo_dirs: Path) -> None:
    builder = GrayBuilder((photo_dirs,), PictureParameters(resize_px=(512, 512)))
    tracemalloc.start()
    try:
        made = build_dataset(
            builder, tmp_path / "store", DirectorySplit(), layout=StoreLayout(num_buckets=1, pairs_per_shard=64)
        )
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.num_moved == 2
    assert peak_bytes < 64 * 512 * 512 * 3  # one shard of targets


def pixels_by_id(path: Path) -> dict[str, bytes]:
    store = PairStore.open(path)
    splits = [store.split(name) for name in SPLITS]
    return {
        record.pair_id: b"".join(part.tobytes() for part in split.read(i))
        for split in splits
        for i, record in enumerate(split.records)
    }


def test_near_duplicates_that_are_rejected_have_a_reason_and_a_picture(tmp_path: Path, photo_dirs: Path) -> None:
    made = build_dataset(gray(photo_dirs), tmp_path / "store", DirectorySplit(near_duplicates="reject"), layout=LAYOUT)

    rejected = {record.item: record for record in PairStore.open(tmp_path / "store").rejected}
    assert made.rejected == {"near_duplicate": 2}
    assert rejected.keys() == {"test/cup", "test/start"}
    assert "train/coffee" in rejected["test/cup"].detail
    assert rejected["test/cup"].thumbnail is not None


class Backwards:
    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        return map(function, list(items)[::-1])


@pytest.mark.parametrize("policy", ["move", "reject"])
def test_a_store_that_grew_and_shrank_is_the_one_built_at_once(
    tmp_path: Path, photo_dirs: Path, policy: Any, tree: Any
) -> None:
    rule = DirectorySplit(near_duplicates=policy)
    build_dataset(gray(photo_dirs), tmp_path / "store", rule, layout=LAYOUT)
    (photo_dirs / "train" / "coffee.png").rename(tmp_path / "away.png")  # the cup is alone now, and back in test
    alone = build_dataset(gray(photo_dirs), tmp_path / "store", rule, layout=LAYOUT)
    assert alone.counts["test"] == 3
    build_dataset(gray(photo_dirs), tmp_path / "alone", rule, layout=LAYOUT, executor=Backwards())
    (tmp_path / "away.png").rename(photo_dirs / "train" / "again.png")  # another name, another bucket
    build_dataset(gray(photo_dirs), tmp_path / "store", rule, layout=LAYOUT, executor=Backwards())
    build_dataset(gray(photo_dirs), tmp_path / "fresh", rule, layout=LAYOUT)

    grown = tree(tmp_path / "store")
    for name, data in {**tree(tmp_path / "alone"), **tree(tmp_path / "fresh")}.items():
        if name.startswith("versions"):
            assert grown[name] == data, name
    again = build_dataset(gray(photo_dirs), tmp_path / "store", rule, layout=LAYOUT)
    assert again.unchanged


@pytest.mark.parametrize("seed", range(6))
def test_a_split_by_name_keeps_pictures_of_one_scene_together(tmp_path: Path, seed: int) -> None:
    (tmp_path / "photos").mkdir()
    for name in NAMES[:6]:
        for number in range(3):
            shifted = np.roll(photo(name), number, axis=1)
            Image.fromarray(shifted).save(tmp_path / "photos" / f"{name}{number}.jpg", quality=90)
    rule = NameSplit(seed=seed, fractions=Fractions(train=0.4, val=0.3, test=0.3))
    build_dataset(gray(tmp_path / "photos"), tmp_path / "store", rule, layout=LAYOUT)
    splits: dict[str, set[str]] = {}
    for record in PairStore.open(tmp_path / "store").pairs:
        splits.setdefault(record.pair_id[:-1], set()).add(record.split)
    assert len(splits) == 6
    assert all(len(found) == 1 for found in splits.values())


def test_a_split_whose_pairs_would_all_move_away_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    for split, quality in (("train", 95), ("test", 50)):
        (tmp_path / "photos" / split).mkdir(parents=True)
        Image.fromarray(photo("coffee")).save(tmp_path / "photos" / split / "cup.jpg", quality=quality)
    with pytest.raises(EmptySourceError, match=r"Each of the 1 pairs of test .* by train/cup. .*--near-duplicates keep"):
        build_dataset(gray(tmp_path / "photos"), tmp_path / "store", DirectorySplit(), layout=LAYOUT)
    kept = build_dataset(gray(tmp_path / "photos"), tmp_path / "store", DirectorySplit(near_duplicates="keep"), layout=LAYOUT)
    assert kept.counts == {"train": 1, "val": 0, "test": 1}
