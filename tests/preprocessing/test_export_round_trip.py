"""A store, exported and built again from the export, holds the same pixels in the same splits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from p2p_core.encodings import encoding
from p2p_core.errors import StoreError
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.diff import diff_versions
from p2p_core.pairstore.export import export_folders
from p2p_core.pairstore.layout import SPLITS, StoreLayout
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import DirectorySplit, Fractions, NameSplit, SplitRule

LAYOUT = StoreLayout(num_buckets=3, pairs_per_shard=4)
NAMES = ("1", "a b", "deep/er/1", "Tür", "tür", "50%", "写真", "v1.2", "con", "e=3D", "x" * 150 + "é" * 20)


def build(directories: tuple[Path, ...], out: Path, rule: SplitRule, **parameters: Any) -> PairStore:
    layout = "side_by_side" if len(directories) == 1 else "two"
    builder = FoldersBuilder(directories, FoldersParameters.model_validate({"layout": layout, **parameters}))
    build_dataset(builder, out, rule, layout=LAYOUT)
    return PairStore.open(out)


def pixels(store: PairStore) -> dict[str, set[tuple[bytes, bytes]]]:
    """Of each split every pair's two pictures."""
    found: dict[str, set[tuple[bytes, bytes]]] = {}
    for name in SPLITS:
        if store.manifest.counts[name]:
            halves = zip(*store.split(name).read_all(), strict=True)
            found[name] = {(input_HWC.tobytes(), target_HWC.tobytes()) for input_HWC, target_HWC in halves}
    return found


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_store_split_by_directory_comes_back_with_its_very_ids(tmp_path, picture, save_picture, side) -> None:
    for i, (split, name) in enumerate((split, f"{name}{k}") for split in SPLITS for k, name in enumerate("abcd")):
        save_picture(tmp_path / "raw" / split / f"{name}.png", picture(16, 40, i))
    first = build((tmp_path / "raw",), tmp_path / "first", DirectorySplit(), input_side=side)
    export_folders(first, tmp_path / "out", input_side=side)
    assert (tmp_path / "out" / "train" / "a0.png").is_file()
    second = build((tmp_path / "out",), tmp_path / "second", DirectorySplit(), input_side=side)
    diff = diff_versions(first, second)
    assert diff.is_empty
    assert diff.num_unchanged == 12
    assert pixels(second) == pixels(first)
    assert second.rejected == (), "the builder finds nothing but pictures in an export"


def test_a_store_split_by_name_comes_back_in_the_same_splits_whatever_the_names(tmp_path, picture, save_picture) -> None:
    for i, name in enumerate(NAMES):
        save_picture(tmp_path / "raw" / f"{name}.png", picture(16, 32, i))
    rule = NameSplit(fractions=Fractions(train=0.4, val=0.3, test=0.3))
    first = build((tmp_path / "raw",), tmp_path / "first", rule)
    assert all(first.manifest.counts.values()), "each split has to have some"
    export_folders(first, tmp_path / "out")
    second = build((tmp_path / "out",), tmp_path / "second", DirectorySplit())
    assert pixels(second) == pixels(first)
    assert second.rejected == (), "the builder finds nothing but pictures in an export"
    diff = diff_versions(first, second)
    assert (len(diff.renamed), diff.added, diff.removed, diff.moved) == (len(NAMES), (), (), ())
    assert {pair.was_id for pair in diff.renamed} == set(NAMES)


@pytest.mark.parametrize(
    ("input_encoding", "target_encoding"),
    [
        ("rgb", "gray"),
        ("lab_l", "lab_ab"),
        ("palette:facades", "rgb"),
        ("one_hot:camvid", "rgb"),
        ("gray", "one_hot:000000-ff8800"),
    ],
)
def test_every_encoding_is_shown_as_the_picture_it_is_stored_as(
    tmp_path, picture, save_picture, input_encoding, target_encoding
) -> None:
    encodings = {"input_encoding": input_encoding, "target_encoding": target_encoding}
    for i in range(8):
        for role, name in (("A", input_encoding), ("B", target_encoding)):
            save_picture(tmp_path / role / f"{i}.png", encoding(name).of_rgb(picture(16, 16, i + 8 * (role == "B"))))
    first = build((tmp_path / "A", tmp_path / "B"), tmp_path / "first", NameSplit(), **encodings)
    export_folders(first, tmp_path / "out")
    second = build((tmp_path / "out",), tmp_path / "second", DirectorySplit(), **encodings)
    assert pixels(second) == pixels(first)
    assert second.manifest.counts == first.manifest.counts


@pytest.mark.parametrize("name", ["bands:1:uint16:0:3000", "bands:3:uint16", "bands:1:uint8", "bands:3:uint8:10:200"])
def test_measurements_that_png_holds_come_back_bit_for_bit(tmp_path: Path, name: str) -> None:
    own, encodings = encoding(name), {"input_encoding": name, "target_encoding": name}
    rng = np.random.default_rng(0)
    for role in ("A", "B"):
        (tmp_path / role).mkdir()
        for i in range(6):
            pixels_HWC = rng.integers(0, np.iinfo(own.dtype).max, (16, 16, own.bands)).astype(own.dtype)
            assert cv2.imwrite(str(tmp_path / role / f"{i}.png"), pixels_HWC[..., ::-1])
    first = build((tmp_path / "A", tmp_path / "B"), tmp_path / "first", NameSplit(), **encodings)
    assert export_folders(first, tmp_path / "out").num_there == 0
    assert export_folders(first, tmp_path / "out").num_there == 6
    second = build((tmp_path / "out",), tmp_path / "second", DirectorySplit(), **encodings)
    assert pixels(second) == pixels(first)
    assert second.manifest.counts == first.manifest.counts


def test_measurements_that_png_does_not_hold_are_refused_by_name(tmp_path: Path, save_geotiff) -> None:
    rng = np.random.default_rng(0)
    for role, bands, dtype in (("A", 4, np.uint16), ("B", 1, np.float32)):
        (tmp_path / role).mkdir()
        save_geotiff(tmp_path / role / "a.tif", rng.uniform(0, 99, (16, 16, bands)).astype(dtype))
    names = {"input_encoding": "bands:4:uint16:0:99", "target_encoding": "bands:1:float32:0:99"}
    store = build((tmp_path / "A", tmp_path / "B"), tmp_path / "store", NameSplit(), **names)
    message = "pairs bands:4:uint16:0:99 and bands:1:float32:0:99, which no PNG holds.*the same 1 or 3 bands"
    with pytest.raises(StoreError, match=message):
        export_folders(store, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pairs_of_the_same_pixels_are_not_taken_for_one_picture_twice(tmp_path, made_builder) -> None:
    """The builder rejects files with the same bytes; a picture carries its pair's id and so has bytes of its own."""
    builder = made_builder({"a": [5], "b": [5], "c": [7]})
    build_dataset(builder, tmp_path / "first", NameSplit(), layout=LAYOUT)
    first = PairStore.open(tmp_path / "first")
    export_folders(first, tmp_path / "out")
    second = build((tmp_path / "out",), tmp_path / "second", DirectorySplit(), target_encoding="gray")
    assert second.manifest.counts == first.manifest.counts
    np.testing.assert_array_equal(sorted(p.input_sha256 for p in second.pairs), sorted(p.input_sha256 for p in first.pairs))


def test_facades_come_back_as_they_were(tmp_path: Path, shared_data: Path) -> None:
    first = build((shared_data / "facades" / "val",), tmp_path / "first", NameSplit(), input_side="right")
    export_folders(first, tmp_path / "out", input_side="right")
    second = build((tmp_path / "out",), tmp_path / "second", DirectorySplit(), input_side="right")
    assert pixels(second) == pixels(first)
