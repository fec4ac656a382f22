"""Stores of measurements: what is written is what is read, of any dtype and number of bands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.pairstore.assemble import assemble_version
from p2p_core.pairstore.diff import diff_stores
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.manifest import BandStatistics, BandSums, DatasetSpec, Manifest
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import SourceRecord
from p2p_core.pairstore.verify import verify_store
from p2p_core.pairstore.versions import building_path, publish
from p2p_core.pairstore.writer import BucketWriter

LAYOUT = StoreLayout(num_buckets=1, pairs_per_shard=2)
NAMES = ["bands:{}:uint8", "bands:{}:uint16:0:3000", "bands:{}:float32:-1:1"]


def spec_of(input_encoding: str, target_encoding: str) -> DatasetSpec:
    return DatasetSpec(
        builder="made",
        builder_version=1,
        parameters={},
        split_rule={},
        input_encoding=input_encoding,
        target_encoding=target_encoding,
        height_px=4,
        width_px=5,
        layout=LAYOUT,
    )


def write(path: Path, names: tuple[str, str], pairs: list[tuple[NDArray[np.generic], NDArray[np.generic]]]) -> Manifest:
    spec = spec_of(*names)
    root = building_path(path, "key")
    writer = BucketWriter(root, LAYOUT, 0, "key0")
    for i, (input_HWC, target_HWC) in enumerate(pairs):
        writer.add("train", "s", f"pair{i:03d}", input_HWC, target_HWC)
    commit = writer.commit()
    sources = [SourceRecord("s", "digest", {})]
    manifest = assemble_version(root, spec, sources, [commit], build_key="key", num_slots=LAYOUT.num_slots([len(pairs)]))
    publish(path, root, manifest)
    return manifest


def random_pixels(rng: np.random.Generator, name: str) -> NDArray[np.generic]:
    """Any bits that are a number."""
    own = encoding(name)
    if own.dtype.kind == "u":
        return rng.integers(0, np.iinfo(own.dtype).max, (4, 5, own.bands), own.dtype, endpoint=True)
    pixels = rng.normal(size=(4, 5, own.bands)).astype(np.float32)
    pixels[0, :4, 0] = [-0.0, np.float32(1e-45), np.finfo(np.float32).max, 0]
    return pixels


@settings(max_examples=25)
@given(
    inputs=st.sampled_from(NAMES), targets=st.sampled_from(NAMES), bands=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    count=st.integers(1, 5), seed=st.integers(0, 99),
)  # fmt: skip
def test_what_is_written_is_read_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, inputs: str, targets: str, bands: tuple[int, int], count: int, seed: int
) -> None:
    names = inputs.format(bands[0]), targets.format(bands[1])
    rng = np.random.default_rng(seed)
    pairs = [(random_pixels(rng, names[0]), random_pixels(rng, names[1])) for _ in range(count)]
    path = tmp_path_factory.mktemp("store")
    manifest = write(path, names, pairs)
    assert list(verify_store(path)) == []
    split = PairStore.open(path).split("train")
    whole = split.read_all()
    for i, pair in enumerate(pairs):
        for own, alone, together in zip(pair, split.read(i), whole, strict=True):
            assert alone.dtype == together.dtype == own.dtype
            assert alone.tobytes() == together[i].tobytes() == own.tobytes()
    dtypes = {str(encoding(name).dtype) for name in names}
    assert manifest.dtype == (dtypes.pop() if len(dtypes) == 1 else "mixed")
    assert write(tmp_path_factory.mktemp("again"), names, pairs).digest == manifest.digest


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_a_shard_of_floats_without_any_signal_is_read_with_its_sign(tmp_path: Path, value: float) -> None:
    flat = np.full((4, 5, 1), value, np.float32)
    write(tmp_path, ("bands:1:float32:-1:1",) * 2, [(flat, flat)])
    assert PairStore.open(tmp_path).split("train").read(0)[0].tobytes() == flat.tobytes()


@pytest.mark.parametrize(("name", "scale"), [("bands:3:uint16", 1), ("bands:3:float32:0:1", 1 / 65535)])
def test_statistics_are_those_of_the_pixels_in_their_own_units(tmp_path: Path, name: str, scale: float) -> None:
    rng = np.random.default_rng(0)
    own = encoding(name)
    pixels = [(rng.integers(60000, 65535, (4, 5, 3)) * scale).astype(own.dtype) for _ in range(3)]
    found = write(tmp_path, (name, name), [(array, array) for array in pixels]).target_statistics
    assert found is not None
    flat = np.stack(pixels).reshape(-1, 3).astype(np.float64)
    assert found.mean == pytest.approx(flat.mean(axis=0), rel=1e-12)
    assert found.std == pytest.approx(flat.std(axis=0), rel=1e-9)


def test_sums_of_words_are_exact_in_any_order() -> None:
    pictures = np.random.default_rng(1).integers(0, 65536, (6, 4, 5, 2)).astype(np.uint16)
    forth, back = BandSums(), BandSums()
    for there, here in zip(pictures, pictures[::-1], strict=True):
        forth, back = forth.add(there), back.add(here)
    assert forth == back == BandSums().add(pictures)
    assert forth.total == tuple(int(band) for band in pictures.astype(object).sum(axis=(0, 1, 2)))


def test_floats_that_hardly_vary_have_no_imaginary_deviation() -> None:
    found = BandStatistics.from_sums(BandSums().add(np.full((7, 7, 1), 0.1, np.float32)))
    assert found is not None
    assert found.std[0] == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_never_stored(tmp_path: Path, value: float) -> None:
    bad = np.zeros((4, 5, 1), np.float32)
    bad[1, 1] = value
    with pytest.raises(ValueError, match="not numbers"):
        write(tmp_path, ("bands:1:float32:0:1",) * 2, [(bad, bad)])


def test_another_scale_is_a_changed_setting(tmp_path: Path) -> None:
    pixels = np.arange(20, dtype=np.uint16).reshape(4, 5, 1)
    for place, high in (("one", 3000), ("two", 5000)):
        write(tmp_path / place, (f"bands:1:uint16:0:{high}", "bands:1:uint16"), [(pixels, pixels)])
    changed = diff_stores(tmp_path / "one", tmp_path / "two")
    assert [(setting.name, setting.before, setting.after) for setting in changed.settings] == [
        ("input_encoding", "bands:1:uint16:0:3000", "bands:1:uint16:0:5000")
    ]
    assert changed.num_unchanged == 1
