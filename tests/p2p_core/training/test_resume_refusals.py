"""What a run cannot go on from is refused by name, with what to do, and the last good checkpoint stays."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save

from p2p_core.config import replace
from p2p_core.errors import CheckpointError, DivergenceError, StoreError
from p2p_core.files import sha256_bytes
from p2p_core.model.generator import UNetConfig
from p2p_core.pairstore.reader import PairStore
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.config import OptimiserConfig
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import DirectorySplit
from tests.p2p_core.training.conftest import CONFIG, assert_same, run


def state_of(checkpoint: Path) -> Path:
    return checkpoint / "state.safetensors"


def truncate(checkpoint: Path) -> None:
    os.truncate(state_of(checkpoint), state_of(checkpoint).stat().st_size // 2)


def flip_a_bit(checkpoint: Path) -> None:
    data = bytearray(state_of(checkpoint).read_bytes())
    data[len(data) // 2] ^= 1
    state_of(checkpoint).write_bytes(data)


def put_a_pickle_there(checkpoint: Path) -> None:
    state_of(checkpoint).write_bytes(pickle.dumps({"state_dict": {}}))


def forge(checkpoint: Path) -> None:
    """A state of another network, under its own digest."""
    data = save({"generator.weight": torch.zeros(3), "random.cpu": torch.get_rng_state()})
    state_of(checkpoint).write_bytes(data)
    record = json.loads((checkpoint / "checkpoint.json").read_text())
    (checkpoint / "checkpoint.json").write_text(json.dumps(record | {"sha256": sha256_bytes(data)}))


def remove_the_state(checkpoint: Path) -> None:
    state_of(checkpoint).unlink()


def spoil_the_record(checkpoint: Path) -> None:
    (checkpoint / "checkpoint.json").write_bytes(b"\x80\x04\x95 no JSON")


def empty_the_record(checkpoint: Path) -> None:
    (checkpoint / "checkpoint.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (truncate, r"state\.safetensors is damaged"),
        (flip_a_bit, r"state\.safetensors is damaged"),
        (put_a_pickle_there, r"state\.safetensors is damaged"),
        (forge, "does not fit this model"),
        (remove_the_state, r"state\.safetensors cannot be read"),
        (spoil_the_record, r"checkpoint\.json cannot be read"),
        (empty_the_record, r"checkpoint\.json is not a valid CheckpointRecord: .*Field required"),
    ],
)
def test_a_spoilt_checkpoint_is_named_beside_the_one_to_go_on_from(
    pair_store: Path, cut: Path, spoil: Callable[[Path], None], message: str
) -> None:
    newest, earlier = cut / "checkpoints" / "0000000040", cut / "checkpoints" / "0000000032"
    spoil(newest)
    with pytest.raises(CheckpointError, match=message) as refused:
        run(CONFIG, pair_store, cut, resume=True)
    assert (
        refused.value.remedy == f"Delete {newest} to resume from {earlier}, which is whole, or train into a new run directory"
    )


def test_without_its_newest_checkpoint_a_run_goes_on_from_the_one_before(pair_store: Path, whole: Path, cut: Path) -> None:
    shutil.rmtree(cut / "checkpoints" / "0000000040")
    assert run(CONFIG, pair_store, cut, resume=True).resumed_from == 32
    assert_same(cut, whole)


def test_a_remedy_names_no_checkpoint_that_is_damaged_too(pair_store: Path, cut: Path) -> None:
    for checkpoint in (cut / "checkpoints").iterdir():
        truncate(checkpoint)
    with pytest.raises(CheckpointError, match="No other checkpoint is whole: train into a new run directory"):
        run(CONFIG, pair_store, cut, resume=True)


def test_checkpoints_of_another_program_are_not_passed_over(pair_store: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "latest_net_G.pth").write_bytes(pickle.dumps({}))
    with pytest.raises(CheckpointError, match=r"holds no checkpoint of p2p, but latest_net_G\.pth.*p2p import"):
        run(CONFIG, pair_store, tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_refused_by_what_differs(pair_store: Path, cut: Path) -> None:
    other = replace(CONFIG, recipe="other", generator=UNetConfig(depth=3, base_width=16))
    with pytest.raises(CheckpointError, match=r"different: recipe, generator"):
        run(other, pair_store, cut, resume=True)


def test_a_checkpoint_under_another_count_of_images_is_refused(pair_store: Path, cut: Path) -> None:
    (cut / "checkpoints" / "0000000040").rename(cut / "checkpoints" / "0000000056")
    with pytest.raises(CheckpointError, match="0000000056 is one of 40 images"):
        run(CONFIG, pair_store, cut, resume=True)


def build(pictures: Path, store: Path) -> str:
    build_dataset(FoldersBuilder((pictures,), FoldersParameters(layout="side_by_side")), store, DirectorySplit())
    return PairStore.open(store).manifest.digest


def test_a_store_built_anew_is_refused_and_the_version_of_before_goes_on(
    pair_store: Path, whole: Path, cut: Path, tmp_path: Path
) -> None:
    store = Path(shutil.copytree(pair_store, tmp_path / "store"))
    pictures = Path(shutil.copytree(pair_store.parent / "pictures", tmp_path / "pictures"))
    (pictures / "train" / "003.png").unlink()
    began, now = PairStore.open(store).manifest.digest, build(pictures, store)
    assert began != now
    with pytest.raises(CheckpointError, match=f"saw dataset {began[:16]}, the store now holds {now[:16]}") as refused:
        run(CONFIG, store, cut, resume=True)
    assert f"--data STORE@{began[:16]}" in refused.value.remedy
    run(CONFIG, Path(f"{store}@{began[:16]}"), cut, resume=True)
    assert_same(cut, whole)


def test_a_damaged_store_is_refused(pair_store: Path, cut: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(pair_store, tmp_path / "store"))
    shard = max((store / "versions").rglob("train/input/c/*/*/*/*"), key=lambda path: path.stat().st_size)
    os.truncate(shard, 100)
    with pytest.raises(StoreError, match="missing or cut short"):
        run(CONFIG, store, cut, resume=True)


def test_a_loss_that_is_no_number_is_told_with_its_images_and_the_checkpoint_before(pair_store: Path, tmp_path: Path) -> None:
    config = replace(
        CONFIG, optimiser=OptimiserConfig(learning_rate=1e6), generator=UNetConfig(depth=3, base_width=8, norm="none"),
        log_every_images=2, checkpoint_every_images=2, alarms="off",
    )  # fmt: skip
    with pytest.raises(DivergenceError, match=r"of images \d+ to \d+ is not a number after \d+ images") as lost:
        run(config, pair_store, tmp_path)
    newest = latest_checkpoint(tmp_path / "checkpoints")
    assert newest is not None
    assert f"are intact, the last of {int(newest.name)} images" in lost.value.remedy
    assert all(bool(torch.isfinite(value).all()) for value in load(state_of(newest).read_bytes()).values())
