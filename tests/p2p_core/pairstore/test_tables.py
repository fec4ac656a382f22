from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from p2p_core.errors import StoreError
from p2p_core.files import canonical_json, sha256_json
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.manifest import BandStatistics, BandSums, DatasetSpec, read_manifest
from p2p_core.pairstore.schema import (
    PairRecord,
    RejectedRecord,
    SourceRecord,
    pairs_from_parquet,
    pairs_table,
    rejected_from_parquet,
    rejected_table,
    sources_from_parquet,
    sources_table,
    to_parquet,
)

windows = st.none() | st.builds(Window, *[st.integers(0, 10**6)] * 4)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
pairs = st.builds(
    PairRecord,
    pair_id=texts,
    source_id=texts,
    split=st.sampled_from(("train", "val", "test")),
    slot=st.integers(0, 2**40),
    input_sha256=texts,
    target_sha256=texts,
    window=windows,
    attributes=st.dictionaries(texts, texts, max_size=3),
)


@settings(max_examples=30)
@given(st.lists(pairs, max_size=6, unique_by=lambda pair: (pair.split, pair.slot)))
def test_records_of_pairs_come_back_whole_and_in_order_of_their_slots(records: list[PairRecord]) -> None:
    data = to_parquet([pairs_table(records)])
    assert pairs_from_parquet(data) == sorted(records, key=lambda r: (r.split, r.slot))
    assert to_parquet([pairs_table(reversed(records))]) == data


@settings(max_examples=30)
@given(st.lists(st.builds(RejectedRecord, texts, texts, texts, texts, windows), max_size=6))
def test_rejections_come_back_whole_whatever_their_order(records: list[RejectedRecord]) -> None:
    key = repr
    assert sorted(rejected_from_parquet(to_parquet([rejected_table(records)])), key=key) == sorted(records, key=key)


@pytest.mark.parametrize(
    "picture",
    [
        np.random.default_rng(3).integers(0, 256, (33, 34, 3), dtype=np.uint8)[:, ::2],
        np.random.default_rng(4).integers(0, 256, (9, 8, 16), dtype=np.uint8),
        np.full((4096, 4100, 1), 255, np.uint8),
    ],
    ids=["part of a picture", "16 bands", "17 million white pixels"],
)
def test_sums_of_bytes_are_exact(picture: NDArray[np.uint8]) -> None:
    sums = BandSums().add(picture)
    assert sums.num_pixels == picture[..., 0].size
    assert sums.total == tuple(picture.sum(axis=(0, 1), dtype=np.int64))
    assert sums.total_of_squares == tuple(np.square(picture.astype(np.int64)).sum(axis=(0, 1)))


def test_sources_come_back_with_their_files() -> None:
    records = [SourceRecord("b", "2", {}), SourceRecord("a", "1", {"x.png": "00", "y.png": "ff"})]
    assert sources_from_parquet(to_parquet([sources_table(records)])) == records[::-1]
    assert to_parquet([sources_table(records)]) == to_parquet([sources_table(records[::-1])])


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=5))
def test_statistics_are_exact_and_do_not_depend_on_the_order_of_pictures(seeds: list[int]) -> None:
    pictures = [np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8) for seed in seeds]
    one_by_one, merged = BandSums(), BandSums()
    for picture in pictures:
        one_by_one = one_by_one.add(picture)
    for picture in reversed(pictures):
        merged = BandSums().add(picture).merge(merged)
    assert one_by_one == merged
    statistics = BandStatistics.from_sums(merged)
    assert statistics is not None
    everything = np.stack(pictures).reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, everything.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.std, everything.std(axis=0), rtol=1e-9)


def test_no_pixels_have_no_statistics() -> None:
    assert BandStatistics.from_sums(BandSums()) is None


def spec(**changes: object) -> DatasetSpec:
    values: dict[str, object] = {
        "builder": "maps",
        "builder_version": 1,
        "parameters": {"tile_px": 256},
        "split_rule": {"kind": "name"},
        "input_encoding": "rgb",
        "target_encoding": "rgb",
        "height_px": 256,
        "width_px": 256,
        "layout": StoreLayout(),
    }
    return DatasetSpec.model_validate({**values, **changes})


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"tile_px": 128}},
        {"split_rule": {"kind": "block"}},
        {"builder": "folders"},
        {"builder_version": 2},
        {"input_encoding": "gray"},
        {"layout": StoreLayout(pairs_per_shard=2)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_buckets_key_changes_with_everything_that_shapes_its_bytes(change: dict[str, object]) -> None:
    assert spec(**change).bucket_key({"a": "1"}) != spec().bucket_key({"a": "1"})


def test_a_buckets_key_is_of_its_sources_content() -> None:
    assert spec().bucket_key({"a": "1", "b": "2"}) == spec().bucket_key({"b": "2", "a": "1"})
    assert len({spec().bucket_key(d) for d in ({"a": "1"}, {"a": "2"}, {"b": "1"}, {})}) == 4


def test_a_manifest_that_was_edited_is_refused(version: Path) -> None:
    manifest = version / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"train": 19', b'"train": 20'))
    with pytest.raises(StoreError, match="its digest does not fit its content"):
        read_manifest(version)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"schema_version": 1}', b"\xff\xfe"])
def test_a_damaged_manifest_is_named(version: Path, data: bytes) -> None:
    (version / "manifest.json").write_bytes(data)
    with pytest.raises(StoreError, match=r"manifest\.json"):
        read_manifest(version)


def test_a_manifest_of_a_later_schema_says_so(version: Path) -> None:
    values = {**read_manifest(version).model_dump(mode="json"), "schema_version": 3, "brand_new": True}
    (version / "manifest.json").write_bytes(canonical_json(values))
    with pytest.raises(StoreError, match="schema version 3, this program reads 1 to 2"):
        read_manifest(version)


def test_a_field_added_later_does_not_invalidate_manifests_written_before(version: Path) -> None:
    """`detector_weights_sha256` stands for a field that an older writer did not know."""
    values = read_manifest(version).model_dump(mode="json")
    del values["detector_weights_sha256"], values["digest"]
    (version / "manifest.json").write_bytes(canonical_json({**values, "digest": sha256_json(values)}))
    assert read_manifest(version).detector_weights_sha256 is None


def test_a_manifest_tells_no_time_and_no_place(version: Path, tmp_path: Path) -> None:
    text = (version / "manifest.json").read_text()
    assert str(tmp_path) not in text
    assert not any(word in text for word in ("time", "date", "created", "host", "elapsed"))


def test_tables_are_read_without_the_scanner_whose_threads_may_abort_a_process_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "pairs.parquet").write_bytes(to_parquet([pairs_table([PairRecord("a", "a", "train", 0, "00", "11")])]))
    program = (
        "import sys\nfrom pathlib import Path\nfrom p2p_core.pairstore.schema import pairs_from_parquet\n"
        "print(len(pairs_from_parquet(Path(sys.argv[1]).read_bytes())), 'pyarrow.dataset' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "pairs.parquet"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("1 False\n", 0), done.stderr
