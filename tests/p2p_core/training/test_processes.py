"""Several processes compute the training that one computes, and each way of doing it wrong would be seen.

Measured in fp32 after 32 images, with dropout, jitter, mirror, clipping and averaged weights: what training has changed in a
network differs by 1e-6 to 1e-5 of itself (root mean square) between one process and two, which add up in another order. Where
one of the many activations lies so near a ReLU's kink that it falls to the other side, by 2e-3; one process whose first weights
are disturbed by 1e-7 of themselves does that too, in 3 of 6 trials. Each fault below makes it 0.4 to 1.1 after 8 images.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from p2p_core.config import replace
from p2p_core.errors import ConfigError, UsageError
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.model.processes import ALONE, Processes, device_of, joined
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig
from p2p_core.training.data import Batches
from p2p_core.training.loop import take_part, train
from p2p_core.training.step import make_state
from p2p_core.training.tracker import JsonLinesTracker, read_metrics

CONFIG = RunConfig(
    recipe="small",
    generator=UNetConfig(depth=3, base_width=8),
    discriminator=PatchGANConfig(num_layers=2, base_width=8),
    optimiser=OptimiserConfig(decay_from=0.5, max_gradient_norm=5.0),
    augment=AugmentConfig(resize_px=76, crop_px=64),
    batch_size=4,
    budget_images=32,
    validate_every_images=16,
    checkpoint_every_images=8,
    log_every_images=8,
    ema_images=16,
)
TOLERANCE = 0.02
"""Of the change that training has made."""


@dataclass(frozen=True)
class Job:
    """One run in both processes. `fault` breaks something in them first."""

    config: RunConfig
    run_dir: Path
    resume: bool = False
    fault: str | None = None


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


def run_alone(config: RunConfig, store: Path, run_dir: Path, *, resume: bool = False, processes: Processes = ALONE) -> None:
    torch.set_num_threads(1)
    newest = max((int(place.name) for place in (run_dir / "checkpoints").glob("*")), default=0) if resume else 0
    tracker = JsonLinesTracker(run_dir, resume_from=newest)
    train(config, store, run_dir, tracker=tracker, progress=Silent(), resume=resume, device="cpu", processes=processes)
    tracker.close()


def run_together(rank: int, port: int, store: Path, jobs: list[Job]) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    with joined(2, "cpu") as (processes, device):
        for job in jobs:
            with pytest.MonkeyPatch.context() as patch:
                if job.fault:
                    FAULTS[job.fault](patch, processes)
                if processes.is_first:
                    run_alone(job.config, store, job.run_dir, resume=job.resume, processes=processes)
                else:
                    unused = job.run_dir if job.resume else job.run_dir.parent / "nothing"
                    take_part(job.config, store, unused, processes=processes, resume=job.resume, device=device)


def own_gradients(patch: pytest.MonkeyPatch, processes: Processes) -> None:  # noqa: ARG001
    patch.setattr(Processes, "average_", lambda *_: None)


def same_rows(patch: pytest.MonkeyPatch, processes: Processes) -> None:  # noqa: ARG001
    patch.setattr(Processes, "share_of", lambda self, size: range(size // self.count))


def own_jitter(patch: pytest.MonkeyPatch, processes: Processes) -> None:
    draw = Batches._draw
    patch.setattr(Batches, "_draw", lambda self, position: draw(self, position + 1000 * processes.rank))


def own_dropout(patch: pytest.MonkeyPatch, processes: Processes) -> None:
    forward = torch.nn.Dropout.forward

    def drop(self: torch.nn.Dropout, features: Tensor) -> Tensor:
        torch.manual_seed(processes.rank)
        return forward(self, features)

    patch.setattr("p2p_core.model.dropout.Dropout.forward", drop)


def own_statistics(patch: pytest.MonkeyPatch, processes: Processes) -> None:  # noqa: ARG001
    patch.setattr(Processes, "mean", lambda _, value: value)


def gradients_of_statistics_kept(patch: pytest.MonkeyPatch, processes: Processes) -> None:  # noqa: ARG001
    patch.setattr("p2p_core.model.processes._Sum.backward", staticmethod(lambda _, gradient: gradient))


FAULTS: dict[str, Callable[[pytest.MonkeyPatch, Processes], None]] = {
    fault.__name__: fault
    for fault in (own_gradients, same_rows, own_jitter, own_dropout, own_statistics, gradients_of_statistics_kept)
}


@pytest.fixture(scope="module")
def runs(pair_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Directories `one`, `two`, `one_then_two`, `two_then_one`, and of each fault: the same run, done in these ways."""
    root = tmp_path_factory.mktemp("runs")
    run_alone(CONFIG, pair_store, root / "one")
    cut_back(root / "one", root / "one_then_two")
    jobs = [Job(CONFIG, root / "two"), Job(CONFIG, root / "one_then_two", resume=True)]
    brief = replace(CONFIG, budget_images=8, validate_every_images=0)
    jobs += [Job(brief, root / fault, fault=fault) for fault in FAULTS]
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=run_together, args=(rank, port, pair_store, jobs)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(200)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    cut_back(root / "two", root / "two_then_one")
    run_alone(CONFIG, pair_store, root / "two_then_one", resume=True)
    run_alone(brief, pair_store, root / "brief")
    return root


def cut_back(whole: Path, run_dir: Path) -> None:
    """The run as it was with 24 of its 32 images seen."""
    shutil.copytree(whole, run_dir)
    shutil.rmtree(run_dir / "checkpoints" / "0000000032")


def state_of(run_dir: Path, images_seen: int = 32) -> dict[str, Tensor]:
    return load_file(run_dir / "checkpoints" / f"{images_seen:010d}" / "state.safetensors")


def distance(state: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """How far the weights of either network lie apart, as a share of how far training has moved them."""
    start = make_state(CONFIG, torch.device("cpu"))
    assert start.adversary is not None
    assert state.keys() == other.keys()
    shares = []
    for prefix, network in (("generator", start.generator), ("discriminator", start.adversary.discriminator)):
        weights = {f"{prefix}.{name}": weight.detach() for name, weight in network.named_parameters()}
        moved, apart = (
            torch.stack([(state[name] - there[name]).square().sum() for name in weights]).sum().sqrt()
            for there in (weights, other)
        )
        shares.append(float(apart / moved))
    return max(shares)


@pytest.mark.parametrize("way", ["two", "one_then_two", "two_then_one"])
def test_two_processes_compute_what_one_does_also_resumed_by_the_other_number(runs: Path, way: str) -> None:
    one, other = state_of(runs / "one"), state_of(runs / way)
    assert distance(one, other) < TOLERANCE
    statistics = [name for name in one if "running_" in name]
    assert statistics
    for name in statistics:
        torch.testing.assert_close(other[name], one[name], rtol=1e-3, atol=1e-4)
    assert torch.equal(one["random.cpu"], other["random.cpu"]), "nothing of a checkpoint tells how many wrote it"


def test_what_two_processes_log_is_of_the_whole_batch(runs: Path) -> None:
    one, two = (read_metrics(runs / way / "metrics.jsonl") for way in ("one", "two"))
    assert [m["images_seen"] for m in one] == [m["images_seen"] for m in two]
    for expected, found in zip(one, two, strict=True):
        assert expected.keys() == found.keys()
        for name in expected.keys() - {"images_per_s"}:
            assert found[name] == pytest.approx(expected[name], rel=TOLERANCE, abs=TOLERANCE), name


def test_only_the_first_process_writes(runs: Path) -> None:
    assert not (runs / "nothing").exists()
    names = [sorted(str(p.relative_to(runs / way)) for p in (runs / way).rglob("*")) for way in ("one", "two")]
    assert names[0] == names[1]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_way_of_doing_it_wrong_is_far_outside_the_tolerance(runs: Path, fault: str) -> None:
    assert distance(state_of(runs / "brief", 8), state_of(runs / fault, 8)) > 10 * TOLERANCE


def test_shares_of_a_batch_are_equal_and_cover_it() -> None:
    rows = [Processes(rank, 3).share_of(12) for rank in range(3)]
    assert [list(r) for r in rows] == np.arange(12).reshape(3, 4).tolist()
    with pytest.raises(ConfigError, match=r"batch of 1 pairs cannot be shared equally by 4 .* batch_size=4 .*--devices 1"):
        Processes(0, 4).share_of(1)
    with pytest.raises(ConfigError, match=r"batch of 10 pairs .* by 4 .* batch_size=8 .*--devices 2"):
        Processes(3, 4).share_of(10)


def test_each_process_has_a_gpu_of_its_own_or_all_the_cpu() -> None:
    assert [device_of(rank, 2, "auto", num_gpus=2) for rank in range(2)] == ["cuda:0", "cuda:1"]
    assert device_of(1, 2, "auto", num_gpus=0) == device_of(1, 2, "cpu", num_gpus=8) == "cpu"
    with pytest.raises(UsageError, match=r"4 processes need as many GPUs, and torch sees 2 here.*--devices 2"):
        device_of(0, 4, "auto", num_gpus=2)
    with pytest.raises(UsageError, match=r"torch sees 0 here\. Use --device cpu"):
        device_of(0, 2, "cuda", num_gpus=0)
    with pytest.raises(UsageError, match="one device 'cuda:1'"):
        device_of(0, 2, "cuda:1", num_gpus=2)
