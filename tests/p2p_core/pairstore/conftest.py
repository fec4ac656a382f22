"""Stores written bucket by bucket, without any builder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from p2p_core.geometry import Window
from p2p_core.pairstore.assemble import assemble_version
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.manifest import DatasetSpec, Manifest, build_key
from p2p_core.pairstore.schema import RejectedRecord, SourceRecord
from p2p_core.pairstore.versions import building_path, publish
from p2p_core.pairstore.writer import BucketWriter

Pixels = NDArray[np.uint8]
Entry = tuple[str, str, Pixels, Pixels]  # split, source_id, input_HWC, target_HWC


def make_spec(layout: StoreLayout) -> DatasetSpec:
    return DatasetSpec(
        builder="made",
        builder_version=1,
        parameters={"colour": "any"},
        split_rule={"kind": "directory"},
        input_encoding="rgb",
        target_encoding="gray",
        height_px=8,
        width_px=12,
        layout=layout,
    )


def random_entries(count: int, seed: int = 0) -> list[Entry]:
    rng = np.random.default_rng(seed)
    splits = ("train", "train", "train", "val", "test")
    return [
        (
            splits[i % 5],
            f"source{i:03d}",
            rng.integers(0, 256, (8, 12, 3), dtype=np.uint8),
            rng.integers(0, 256, (8, 12, 1), dtype=np.uint8),
        )
        for i in range(count)
    ]


def write_store(path: Path, entries: Sequence[Entry], layout: StoreLayout) -> Manifest:
    spec = make_spec(layout)
    key = build_key([source_id for _, source_id, _, _ in entries], len(entries))
    root = building_path(path, key)
    commits = []
    for bucket in range(layout.num_buckets):
        members = sorted((e for e in entries if layout.bucket_of(e[1]) == bucket), key=lambda e: e[1])
        if not members:
            continue
        writer = BucketWriter(root, layout, bucket, f"key{bucket}")
        for split, source_id, input_HWC, target_HWC in members:
            window = Window(len(source_id), 0, 8, 12)
            writer.add(split, source_id, f"{source_id}/pair", input_HWC, target_HWC, window=window, attributes={"ü": "1"})
        writer.reject(RejectedRecord(f"bad{bucket}", f"item{bucket}", "blank", "All of it is white"))
        commits.append(writer.commit())
    sources = [SourceRecord(source_id, f"digest of {source_id}", {"a.png": "00"}) for _, source_id, _, _ in entries]
    num_slots = layout.num_slots([len(entries)])
    manifest = assemble_version(root, spec, sources, commits, build_key=key, num_slots=num_slots)
    publish(path, root, manifest)
    return manifest


@pytest.fixture(scope="session")
def layout() -> StoreLayout:
    return StoreLayout(num_buckets=4, pairs_per_shard=3)


@pytest.fixture(scope="session")
def entries() -> list[Entry]:
    return random_entries(31)


@pytest.fixture(scope="session")
def make_store() -> Callable[[Path, Sequence[Entry], StoreLayout], Manifest]:
    return write_store


@pytest.fixture(scope="session")
def written_store(tmp_path_factory: pytest.TempPathFactory, entries: list[Entry], layout: StoreLayout) -> Path:
    path = tmp_path_factory.mktemp("pairstore") / "store"
    path.mkdir()
    write_store(path, entries, layout)
    return path


@pytest.fixture
def store(tmp_path: Path, written_store: Path) -> Path:
    """31 random pairs (8x12 px, RGB -> gray) in 4 buckets and shards of 3; a copy to damage."""
    return Path(shutil.copytree(written_store, tmp_path / "store"))


@pytest.fixture
def version(store: Path) -> Path:
    return next((store / "versions").iterdir())
