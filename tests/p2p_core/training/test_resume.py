"""A run that is killed, wherever it is, comes to the bytes of one nothing happened to."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load

from p2p_core.config import replace
from p2p_core.encodings import encoding
from p2p_core.errors import CheckpointError, OutputError
from p2p_core.pairstore.reader import PairStore
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.config import OptimiserConfig
from p2p_core.training.data import Batches, ResidentPairs
from tests.p2p_core.training.conftest import (
    CONFIG,
    IN_THE_RECORD,
    IN_THE_STATE,
    KillAt,
    Tell,
    assert_same,
    killed,
    run,
    run_until_written,
)


def test_a_run_killed_again_and_again_leaves_what_one_leaves_that_was_not(
    pair_store: Path, whole: Path, tmp_path: Path
) -> None:
    killed(run, CONFIG, pair_store, tmp_path, progress=KillAt(6))  # before there is a checkpoint
    for file_number in (IN_THE_STATE, IN_THE_RECORD):
        killed(run_until_written, CONFIG, pair_store, tmp_path, file_number, resume=latest_checkpoint(tmp_path) is not None)
        assert list((tmp_path / "checkpoints").rglob("*.partial"))
    killed(run, CONFIG, pair_store, tmp_path, resume=True, progress=KillAt(42))  # between checkpoints and within a window
    resumed = run(CONFIG, pair_store, tmp_path, resume=True)
    assert resumed.resumed_from == 40
    assert_same(tmp_path, whole)
    state = load((tmp_path / "checkpoints" / "0000000064" / "state.safetensors").read_bytes())
    for part in ("generator.", "discriminator.", "generator_optimiser.0.exp_avg", "discriminator_optimiser.0.exp_avg_sq",
                 "averaged.", "random.cpu", "totals.generator_l1"):  # fmt: skip
        assert any(name.startswith(part) for name in state), part


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_a_run_killed_whatever_it_is_at_comes_to_the_same(pair_store: Path, whole: Path, tmp_path: Path, share: float) -> None:
    began, run_dir = tmp_path / "began", tmp_path / "run"
    elapsed_s = json.loads((whole / "result.json").read_text())["elapsed_s"]
    killed(run, CONFIG, pair_store, run_dir, progress=Tell(began), after_s=(began, share * elapsed_s))
    run(CONFIG, pair_store, run_dir, resume=True)
    assert_same(run_dir, whole)


def test_n_images_and_a_kill_and_then_2n_are_2n(pair_store: Path, tmp_path: Path) -> None:
    twice = replace(CONFIG, optimiser=OptimiserConfig(warm_up_images=20))
    once = replace(twice, budget_images=32)
    run(twice, pair_store, tmp_path / "whole")
    run(once, pair_store, tmp_path / "run")
    killed(run, twice, pair_store, tmp_path / "run", resume=True, progress=KillAt(54))
    assert run(twice, pair_store, tmp_path / "run", resume=True).resumed_from == 48
    shutil.rmtree(tmp_path / "run" / "sheets")  # of 32 images there is one more, and of 22 it is the other norm's
    shutil.rmtree(tmp_path / "whole" / "sheets")
    assert_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("budget_images", [128, 16])
def test_another_budget_is_refused_where_the_run_would_not_have_come_there(
    pair_store: Path, cut: Path, budget_images: int
) -> None:
    """Its learning rate fell already, and would not yet have; and fewer images than it has seen are none to go on with."""
    before = (cut / "config.json").read_bytes()
    with pytest.raises(CheckpointError, match=r"another configuration \(different: budget_images\)"):
        run(replace(CONFIG, budget_images=budget_images), pair_store, cut, resume=True)
    assert (cut / "config.json").read_bytes() == before


def test_a_resumed_run_draws_the_pairs_that_were_next(pair_store: Path) -> None:
    pairs = ResidentPairs(*PairStore.open(pair_store).split("train").read_all(), torch.device("cpu"), (encoding("rgb"),) * 2)
    whole, resumed = (Batches(pairs, CONFIG.augment, 2, CONFIG.seed, np.arange(48) % 3 + 1) for _ in range(2))
    seen = [whole.at(start).input_NCHW for start in range(0, 200, 2)]
    assert all(torch.equal(resumed.at(start).input_NCHW, seen[start // 2]) for start in range(90, 200, 2))


def test_a_refused_resumption_leaves_the_run_as_it_began(pair_store: Path, whole: Path, cut: Path) -> None:
    with pytest.raises(CheckpointError, match="seed"):
        run(replace(CONFIG, seed=1), pair_store, cut, resume=True)
    run(CONFIG, pair_store, cut, resume=True)
    assert_same(cut, whole)


def test_a_disk_that_fills_up_under_a_checkpoint_leaves_the_one_before(
    pair_store: Path, whole: Path, small_disk: Callable[[str], Path]
) -> None:
    checkpoint = whole / "checkpoints" / "0000000064"
    size_kb = math.ceil(sum(path.stat().st_size for path in checkpoint.iterdir()) / 1024)
    disk = small_disk(f"size={round(1.7 * size_kb)}k")
    with pytest.raises(OutputError, match=r"disk is full while writing .*0000000016/state\.safetensors") as full:
        run(CONFIG, pair_store, disk / "run")
    assert full.value.remedy == (
        f"Free space there, then run it again with --resume: it goes on from {disk}/run/checkpoints/0000000008, which is intact"
    )
    assert not list((disk / "run" / "checkpoints").rglob("*.partial"))
    subprocess.run(["mount", "-o", f"remount,size={20 * size_kb}k", str(disk)], check=True)
    assert run(CONFIG, pair_store, disk / "run", resume=True).resumed_from == 8
    assert_same(disk / "run", whole)
