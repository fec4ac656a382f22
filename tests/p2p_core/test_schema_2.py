"""A pair store of schema 2, as it was first written, stays readable for ever: near duplicates, thumbnails and all."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from p2p_core.files import sha256_bytes
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.verify import verify_store

STORE = Path(__file__).parents[1] / "data" / "pair_store_schema_2"
PIXELS_DIGEST = "d42dc18d83548972ac4df4b57f26437058f0ca9d57f05a820621fcb11e595141"


def test_the_committed_pair_store_verifies_and_gives_its_pairs() -> None:
    assert list(verify_store(STORE)) == []
    store = PairStore.open(STORE)
    assert store.manifest.schema_version == 2
    assert store.manifest.counts == {"train": 4, "val": 2, "test": 2}
    pixels = [array for split in SPLITS for array in store.split(split).read_all()]
    assert sha256_bytes(b"".join(np.ascontiguousarray(array).tobytes() for array in pixels)) == PIXELS_DIGEST


def test_it_tells_of_the_near_duplicate_that_moved() -> None:
    store = PairStore.open(STORE)
    (moved,) = (record for record in store.pairs if "moved_from" in record.attributes)
    assert (moved.pair_id, moved.split) == ("test/again", "train")
    assert moved.attributes == {"split": "test", "moved_from": "test", "near_duplicate_of": "train/1"}
    assert store.manifest.num_moved == 1


def test_it_shows_what_was_rejected_where_something_is_to_be_seen() -> None:
    rejected = {record.item: record for record in PairStore.open(STORE).rejected}
    assert {item: record.reason for item, record in rejected.items()} == {"train/plain": "uniform", "val/cut": "truncated"}
    assert rejected["val/cut"].thumbnail is None
    with Image.open(io.BytesIO(rejected["train/plain"].thumbnail or b"")) as picture:
        assert picture.size == (192, 96)
