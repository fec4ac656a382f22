"""Pairs that are read while the networks learn give the very batches that resident ones give."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from p2p_core.config import replace
from p2p_core.encodings import Encoding, encoding
from p2p_core.errors import StoreError
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.reader import PairSplit
from p2p_core.training.balance import times_an_epoch
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.config import AugmentConfig
from p2p_core.training.data import Batches, ResidentPairs
from p2p_core.training.streaming import Inputs, StreamedPairs, training_pairs
from tests.p2p_core.training.test_loop import CONFIG, run

CPU = torch.device("cpu")


def opened(path: Path) -> tuple[PairSplit, tuple[Encoding, Encoding]]:
    store = PairStore.open(path)
    return store.split("train"), (encoding(store.manifest.input_encoding), encoding(store.manifest.target_encoding))


@pytest.mark.parametrize("kind", ["pair_store", "labelled_store"])
def test_batches_are_those_of_resident_pairs_also_over_the_end_of_an_epoch(kind: str, request: pytest.FixtureRequest) -> None:
    split, encodings = opened(request.getfixturevalue(kind))
    size_px = min(split.size_px)
    augment = AugmentConfig(resize_px=size_px + 6, crop_px=size_px // 2)
    pairs = ResidentPairs(*split.read_all(), CPU, encodings, split.jitter_px), StreamedPairs(split, CPU, encodings)
    times = times_an_epoch(split.read_all()[0], 3, encodings[0])
    assert times.tolist() == times_an_epoch(Inputs(split), 3, encodings[0]).tolist()
    resident, streamed = (Batches(of, augment, 3, 7, times) for of in pairs)
    for position in [*range(0, 3 * len(split), 3), 1, 9]:  # and as a run that resumes begins somewhere
        one, other = resident.at(position), streamed.at(position)
        assert torch.equal(one.input_NCHW, other.input_NCHW)
        assert torch.equal(one.target_NCHW, other.target_NCHW)


def test_a_run_that_streams_learns_what_one_that_does_not_learns(pair_store: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, budget_images=16)
    checkpoints = []
    for resident_gb in (None, 0.0):
        run_dir = tmp_path / str(resident_gb)
        run(replace(config, resident_gb=resident_gb), pair_store, run_dir)
        checkpoints.append(latest_checkpoint(run_dir / "checkpoints"))
    weights = [load_file(next(place.glob("*.safetensors"))) for place in checkpoints if place]
    assert len(weights) == 2
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_few_pairs_are_held_at_once(pair_store: Path) -> None:
    split, encodings = opened(pair_store)
    pairs = StreamedPairs(split, CPU, encodings)
    for first in range(len(split) - 2):
        pairs.take([first], [first + 1])
        assert sorted(pairs._reading) == [first, first + 1]


def test_pairs_stay_where_there_is_room_and_are_streamed_where_there_is_none(pair_store: Path) -> None:
    split, encodings = opened(pair_store)
    assert isinstance(training_pairs(split, CPU, encodings, None), ResidentPairs)
    assert isinstance(training_pairs(split, CPU, encodings, 2.1e-9 * split.num_bytes), ResidentPairs)
    assert isinstance(training_pairs(split, CPU, encodings, 1.9e-9 * split.num_bytes), StreamedPairs)


def test_a_shard_that_goes_or_changes_meanwhile_is_an_error_and_no_black_picture(pair_store: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(pair_store, store)
    split, encodings = opened(store)
    pairs = StreamedPairs(split, CPU, encodings)
    pairs.take([0], [])
    shards = [file for file in store.glob("versions/*/train/target/c/**/*") if file.is_file()]
    for shard in shards:
        data = bytearray(shard.read_bytes())
        data[len(data) // 3] ^= 1
        shard.unlink()
        shard.write_bytes(data)
    with pytest.raises(StoreError, match="cannot be decoded"):
        pairs.take(range(len(split)), [])
    for shard in shards:
        shard.unlink()
    with pytest.raises(StoreError, match="cannot be decoded"):
        pairs.take(range(len(split)), [])


def test_evenly_spread_pairs_are_those_of_the_whole(pair_store: Path) -> None:
    split, _ = opened(pair_store)
    for whole_NHWC, some_NHWC in zip(split.read_all(), split.read_spread(3), strict=True):
        assert np.array_equal(some_NHWC, whole_NHWC[[0, (len(split) - 1) // 2, len(split) - 1]])
