"""A run that is killed, wherever it is, comes to the bytes of one nothing happened to; what cannot go on is refused."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from p2p_core.config import replace
from p2p_core.encodings import encoding
from p2p_core.errors import CheckpointError, DivergenceError, OutputError, StoreError
from p2p_core.files import sha256_bytes
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.pairstore.reader import PairStore
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig
from p2p_core.training.data import Batches, ResidentPairs
from p2p_core.training.loop import train
from p2p_core.training.result import TrainingResult
from p2p_core.training.tracker import JsonLinesTracker
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import DirectorySplit

# No interval is a multiple of another: checkpoints fall between lines of the log and between epochs.
CONFIG = RunConfig(
    recipe="small",
    generator=UNetConfig(depth=3, base_width=8),
    discriminator=PatchGANConfig(num_layers=1, base_width=8),
    optimiser=OptimiserConfig(decay_from=0.5, warm_up_images=20),
    augment=AugmentConfig(crop_px=64),
    batch_size=2,
    budget_images=64,
    validate_every_images=22,
    checkpoint_every_images=8,
    log_every_images=6,
    ema_images=16,
    oversample_rare=3,
)
_CLOCKS = {"time_s", "images_per_s"}
IN_THE_STATE, IN_THE_RECORD = 3, 4
"""Which file that a run writes among its checkpoints: each has two."""


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


class KillAt:
    """SIGKILLs its own process once so many images are seen."""

    def __init__(self, images: int) -> None:
        self.images = images

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        if done >= self.images:
            os.kill(os.getpid(), signal.SIGKILL)


class Tell:
    """Says by a file that steps have begun."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        self.path.touch()


def run(config: RunConfig, store: Path, run_dir: Path, *, resume: bool = False, progress: Any = None) -> TrainingResult:
    torch.set_num_threads(1)
    checkpoint = latest_checkpoint(run_dir / "checkpoints") if resume else None
    tracker = JsonLinesTracker(run_dir, resume_from=int(checkpoint.name) if checkpoint else 0)
    try:
        return train(config, store, run_dir, tracker=tracker, progress=progress or Silent(), resume=resume, device="cpu")
    finally:
        tracker.close()


def run_until_written(config: RunConfig, store: Path, run_dir: Path, file_number: int, *, resume: bool) -> None:
    """Train; with the bytes of so many files of checkpoints on disk, and the last not yet in its place, SIGKILL."""
    flush, written = os.fsync, 0

    def flush_or_die(fd: int) -> None:
        nonlocal written
        written += "/checkpoints/" in str(Path(f"/proc/self/fd/{fd}").readlink())
        if written == file_number:
            os.kill(os.getpid(), signal.SIGKILL)
        flush(fd)

    os.fsync = flush_or_die
    run(config, store, run_dir, resume=resume)


def killed(target: Callable[..., object], *args: object, after_s: tuple[Path, float] | None = None, **kwargs: object) -> None:
    """Call it in a process of its own that is killed, by itself or, once a file is there, after some seconds."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=args, kwargs=kwargs)
    process.start()
    if after_s is not None:
        while not after_s[0].exists():
            assert process.is_alive()
            time.sleep(0.01)
        time.sleep(after_s[1])
        process.kill()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL or (after_s and process.exitcode == 0)  # a machine may become faster meanwhile


def traces(run_dir: Path) -> dict[str, bytes]:
    """All that a run leaves, but for clocks: weights, both optimisers, random state, sums not yet logged, sheets, metrics."""
    files = {str(path.relative_to(run_dir)): path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    result = json.loads(files.pop("result.json"))
    files["result"] = json.dumps([result["images_seen"], result["bundle_digest"], result["metrics"]]).encode()
    lines = [json.loads(line) for line in files.pop("metrics.jsonl").splitlines()]
    files["metrics"] = "\n".join(str({k: v for k, v in line.items() if k not in _CLOCKS}) for line in lines).encode()
    return files


def assert_same(run_dir: Path, other: Path) -> None:
    ours, theirs = traces(run_dir), traces(other)
    assert sorted(ours) == sorted(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.fixture(scope="module")
def whole(pair_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("whole")
    run(CONFIG, pair_store, run_dir)
    return run_dir


@pytest.fixture(scope="module")
def cut_once(pair_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("cut") / "run"
    killed(run, CONFIG, pair_store, run_dir, progress=KillAt(42))
    return run_dir


@pytest.fixture
def cut(cut_once: Path, tmp_path: Path) -> Path:
    """A copy of a run that was killed after 42 images; checkpoints of 32 and 40, and the best."""
    return Path(shutil.copytree(cut_once, tmp_path / "run"))


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
