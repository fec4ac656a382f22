"""What is measured between two versions, and that a version beyond the limits is kept, refused and not decoded again."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from p2p_core.config import replace
from p2p_core.errors import StoreError, UsageError
from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.diff import diff_stores
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.use import use_version
from preprocessing.build import BuildSummary, build_dataset
from preprocessing.drift import DriftError, DriftLimits, Measured, StoreDrift, measure_drift, refuse_drift
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit, SourceSplit

LAYOUT = StoreLayout(num_buckets=5, pairs_per_shard=4)
SPLIT = NameSplit(fractions=Fractions(train=0.6, val=0.2, test=0.2))
ALL_TRAIN = NameSplit(fractions=Fractions(train=1.0, val=0.0, test=0.0))
LIMITS = DriftLimits()

Content = dict[str, list[int | None]]


def content(count: int = 24, **changes: list[int | None]) -> Content:
    return {**{f"s{i:02d}": [100 * i, 100 * i + 1] for i in range(count)}, **changes}


def admit(current: Path, version: Path) -> StoreDrift:
    return refuse_drift(current, version, LIMITS)


@pytest.fixture
def build(tmp_path: Path, made_builder: Any) -> Callable[..., BuildSummary]:
    """`build(content)`: builds the store at `store`, with the drift check."""

    def built(of: Content, *, brightness: int = 0, builder: Any = None) -> BuildSummary:
        parameters = type(made_builder({}).parameters)(brightness=brightness)
        made = builder or made_builder(of, parameters=parameters)
        return build_dataset(made, tmp_path / "store", SPLIT, layout=LAYOUT, admit=admit)

    return built


@pytest.fixture
def drift_of(tmp_path: Path, made_builder: Any) -> Callable[[Content, Content], dict[tuple[str, str], Measured]]:
    """Two contents -> everything that was measured between their stores, by measure and thing."""

    def measured(before: Content, after: Content) -> dict[tuple[str, str], Measured]:
        for name, of in (("before", before), ("after", after)):
            build_dataset(made_builder(of), tmp_path / name, SPLIT, layout=LAYOUT)
        drift = measure_drift(PairStore.open(tmp_path / "before"), PairStore.open(tmp_path / "after"), LIMITS)
        assert len({(m.measure, m.of) for m in drift.measured}) == len(drift.measured)
        return {(m.measure, m.of): m for m in drift.measured}

    return measured


def write_pictures(place: Path, pixels_NHWC: np.ndarray) -> Path:
    place.mkdir(parents=True)
    for i, picture_HWC in enumerate(pixels_NHWC):
        cv2.imwrite(str(place / f"{i:03d}.png"), np.ascontiguousarray(picture_HWC[..., ::-1]))
    return place


def store_of(place: Path, pixels_NHWC: np.ndarray) -> PairStore:
    """Of side-by-side pictures, all of them for training."""
    builder = FoldersBuilder((write_pictures(place / "pictures", pixels_NHWC),), FoldersParameters(layout="side_by_side"))
    build_dataset(builder, place / "store", ALL_TRAIN, layout=LAYOUT)
    return PairStore.open(place / "store")


def test_the_same_dataset_drifts_by_nothing(drift_of) -> None:
    for measured in drift_of(content(), content()).values():
        assert measured.drift == (1 if measured.measure == "std_ratio" else 0)


def test_counts_rejections_and_sources_are_shares_that_can_be_worked_out_by_hand(drift_of) -> None:
    after = content(20, s03=[300, None], s04=[None, None])
    after["s99"] = [9900]
    measured = drift_of(content(), after)
    gone = measured["sources_gone", "sources"]
    assert (gone.drift, gone.before, gone.after) == (4 / 24, 24, 21)
    rejected = measured["rejected", "all items"]
    assert (rejected.before, rejected.drift) == (0, 3 / 41)
    assert measured["rejected", "reason made_bad"].drift == 3 / 41
    before = {split: measured["pairs", f"split {split}"].before for split in ("train", "val", "test")}
    assert sum(before.values()) == 48
    for split, count in before.items():
        found = measured["pairs", f"split {split}"]
        assert found.drift == abs(found.after - count) / count


def test_a_shift_a_stretch_and_a_distribution_are_measured_per_band(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(64, 128, (12, 16, 32, 3), dtype=np.uint8)
    other = pixels.copy()
    other[:, :, :16, 0] += 64  # red of the input: no level in common
    other[:, :, 16:, 2] = 2 * (other[:, :, 16:, 2].astype(int) - 95) + 95  # blue of the target: twice the contrast
    drift = measure_drift(store_of(tmp_path / "a", pixels), store_of(tmp_path / "b", other), LIMITS)
    found = {(m.measure, m.of): m.drift for m in drift.measured}
    std = pixels[:, :, :16, 0].std()
    assert found["mean_shift", "input red"] == pytest.approx(64 / std)
    assert found["distribution", "input red"] == 1
    assert found["std_ratio", "input red"] == pytest.approx(1)
    assert found["std_ratio", "target blue"] == pytest.approx(2, abs=0.02)
    assert found["mean_shift", "target blue"] < 0.05
    untouched = [m.drift for m in drift.measured if m.of in ("input green", "target red") and m.measure != "std_ratio"]
    assert untouched == [0] * 4
    assert {(m.measure, m.of) for m in drift.beyond} == {
        ("mean_shift", "input red"),
        ("distribution", "input red"),
        ("std_ratio", "target blue"),
        ("distribution", "target blue"),
    }


def test_a_band_without_contrast_has_a_finite_drift(tmp_path: Path) -> None:
    flat = np.random.default_rng(0).integers(0, 256, (6, 16, 32, 3), dtype=np.uint8)
    flat[..., 1] = 10
    shifted = flat.copy()
    shifted[..., 1] = 13
    drift = measure_drift(store_of(tmp_path / "a", flat), store_of(tmp_path / "b", shifted), LIMITS)
    found = {(m.measure, m.of): m.drift for m in drift.measured}
    assert found["mean_shift", "input green"] == 3
    assert found["std_ratio", "input green"] == 1


def test_a_version_beyond_the_limits_is_kept_but_not_made_current_and_the_message_says_all(tmp_path, build) -> None:
    first = build(content())
    with pytest.raises(DriftError) as refused:
        build(content(12))
    store = PairStore.open(tmp_path / "store")
    assert store.version_path == first.version_path
    kept = refused.value.drift.after
    assert refused.value.drift.before == first.version_path
    assert sum(PairStore.open(kept).manifest.counts.values()) == 24
    assert verify_store(tmp_path / "store") == []
    assert refused.value.exit_code == 1
    message = str(refused.value)
    for part in (
        f"the new version {kept.name} drifted from {first.version_path.name}, which stays current: ",
        "sources_gone of sources is 0.5 (24 -> 12), limit 0.1",
        f"`p2p diff {tmp_path}/store@{first.version_path.name} {tmp_path}/store@{kept.name}`",
        f"`p2p use {tmp_path}/store@{kept.name}`",
        "raise the limit of drift.sources_gone",
    ):
        assert part in message
    copy = pickle.loads(pickle.dumps(refused.value))
    assert (str(copy), copy.drift) == (message, refused.value.drift)


def test_a_rebuild_of_refused_sources_is_refused_again_and_decodes_nothing(tmp_path, build, made_builder, tree) -> None:
    build(content())
    with pytest.raises(DriftError) as first:
        build(content(12))
    before = tree(tmp_path)
    again = made_builder(content(12))
    with pytest.raises(DriftError) as second:
        build({}, builder=again)
    assert again.built == []
    assert str(second.value) == str(first.value)
    assert tree(tmp_path) == before


def test_an_accepted_version_is_current_and_later_builds_are_measured_from_it(tmp_path, build) -> None:
    first = build(content())
    with pytest.raises(DriftError) as refused:
        build(content(12))
    accepted = use_version(Path(f"{tmp_path / 'store'}@{refused.value.drift.after.name[:6]}"))
    assert PairStore.open(tmp_path / "store").version_path == accepted
    assert build(content(12)).unchanged
    with pytest.raises(DriftError):
        build(content())
    assert use_version(first.version_path) == first.version_path
    assert build(content()).unchanged


def test_a_small_change_becomes_current(tmp_path, build) -> None:
    build(content())
    made = build(content(s99=[9]))
    assert PairStore.open(tmp_path / "store").version_path == made.version_path


def test_a_version_that_never_was_current_is_not_the_one_before(tmp_path, build) -> None:
    build(content())
    with pytest.raises(DriftError):
        build(content(12))
    with pytest.raises(StoreError, match=r"has no version but .* that ever was current"):
        diff_stores(tmp_path / "store")
    build(content(s99=[9]))
    assert [pair.pair_id for pair in diff_stores(tmp_path / "store").added] == ["s99/000"]


def test_a_damaged_current_version_is_no_reason_to_take_any_other(tmp_path, build) -> None:
    first = build(content())
    (first.version_path / "pairs.parquet").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot be told, so it was not made current: .*pairs.parquet.*`p2p use "):
        build(content(12))
    assert (tmp_path / "store" / "current").read_text().strip() == first.version_path.name


def test_measurements_are_compared_in_shares_of_their_range(tmp_path: Path) -> None:
    rng, stores = np.random.default_rng(0), []
    for name, high in (("a", 20_000), ("b", 40_000)):
        (tmp_path / name / "pictures").mkdir(parents=True)
        for i in range(8):
            pixels = rng.integers(10_000, high, (16, 32), dtype=np.uint16)
            cv2.imwrite(str(tmp_path / name / "pictures" / f"{i}.png"), pixels)
        half = {"input_encoding": "bands:1:uint16", "target_encoding": "bands:1:uint16"}
        parameters = FoldersParameters.parse({"layout": "side_by_side", **half}, where="test")
        builder = FoldersBuilder((tmp_path / name / "pictures",), parameters)
        build_dataset(builder, tmp_path / name / "store", ALL_TRAIN, layout=LAYOUT)
        stores.append(PairStore.open(tmp_path / name / "store"))
    found = {(m.measure, m.of): m.drift for m in measure_drift(*stores, LIMITS).measured}
    assert found["std_ratio", "input band 1"] == pytest.approx(3, abs=0.1)
    assert found["mean_shift", "input band 1"] == pytest.approx(10_000 / (10_000 / 12**0.5), abs=0.2)
    assert found["distribution", "target band 1"] == pytest.approx(2 / 3, abs=0.05)


def test_other_encodings_cannot_be_compared(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 16, 32, 3), dtype=np.uint8)
    colour = store_of(tmp_path / "a", pixels)
    gray = FoldersParameters(layout="side_by_side", target_encoding="gray")
    build_dataset(FoldersBuilder((tmp_path / "a" / "pictures",), gray), tmp_path / "b", ALL_TRAIN, layout=LAYOUT)
    with pytest.raises(StoreError, match=r"The target of .* is encoded as 'rgb', that of .* as 'gray'"):
        measure_drift(colour, PairStore.open(tmp_path / "b"), LIMITS)


def test_stores_without_training_pairs_are_compared_by_their_counts(tmp_path, made_builder) -> None:
    only_test = SourceSplit(fractions=Fractions(train=0.0, val=0.0, test=1.0))
    build_dataset(made_builder(content()), tmp_path / "a", only_test, layout=LAYOUT)
    build_dataset(made_builder(content()), tmp_path / "b", SPLIT, layout=LAYOUT)
    drift = measure_drift(PairStore.open(tmp_path / "a"), PairStore.open(tmp_path / "b"), LIMITS)
    assert {m.measure for m in drift.measured} == {"pairs", "rejected", "sources_gone"}
    assert {m.of for m in drift.beyond} == {"split train", "split val", "split test"}


def test_a_limit_is_the_last_value_that_passes() -> None:
    at = Measured(measure="mean_shift", of="input red", drift=0.25, limit=0.25)
    assert not at.beyond
    assert replace(at, drift=0.2500001).beyond


def test_only_versions_of_a_store_that_are_what_was_written_can_be_used(tmp_path, build) -> None:
    first, second = build(content()), build(content(s99=[9]))
    store = tmp_path / "store"
    with pytest.raises(StoreError, match="has no version 'nope'"):
        use_version(Path(f"{store}@nope"))
    for path in (store, tmp_path, tmp_path / "nowhere@1"):
        with pytest.raises(UsageError, match="names no version"):
            use_version(path)
    (first.version_path / "pairs.parquet").write_bytes(b"")  # not a shard: the versions share those
    with pytest.raises(StoreError, match=r"pairs.parquet has 0 bytes instead of .*not made current"):
        use_version(first.version_path)
    assert PairStore.open(store).version_path == second.version_path
