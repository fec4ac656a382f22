"""Claim: a training step of the paper's networks at 256 px, ours against the eager fp32 step of the reference way.

Both sides see the same batches held on the device (no loader on either side), interleaved, medians of five rounds.
The reference way is eager fp32 in NCHW layout and reads every loss with `.item()` after each step, as the public code does.

    python -m benchmarks.training_step [--seconds 4] [--batches 1 4 16] [--base-width 64]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.hardware import hardware_name
from p2p_core.config import replace
from p2p_core.recipes import facades
from p2p_core.training.config import RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.fast_step import make_step
from p2p_core.training.step import make_state, training_step

_ROUNDS = 5


def main() -> None:
    options = _options()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    print(f"{hardware_name()}, torch {torch.__version__}, 256 px, medians of {_ROUNDS}, images/s")
    print("| batch | reference: eager fp32 | ours fp32 | ours bf16 | fp32 ratio | bf16 ratio |\n|---|---|---|---|---|---|")
    for batch_size in options.batches:
        rates = _compare(batch_size, device, options.seconds)
        ratios = [rates[name] / rates["reference"] for name in ("fp32", "bf16")]
        figures = " | ".join(f"{rates[name]:.1f}" for name in ("reference", "fp32", "bf16"))
        print(f"| {batch_size} | {figures} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="per round and side")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16, 64])
    return parser.parse_args()


def _compare(batch_size: int, device: torch.device, seconds: float) -> dict[str, float]:
    contenders = {"reference": _reference(batch_size, device)}
    for precision in ("fp32", "bf16"):
        contenders[precision] = _ours(batch_size, device, precision)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(_ROUNDS):
        for name, run in contenders.items():
            rates[name].append(batch_size * _steps_per_s(run, seconds))
    return {name: statistics.median(values) for name, values in rates.items()}


def _config(batch_size: int, precision: str) -> RunConfig:
    return replace(facades(), batch_size=batch_size, precision=precision)


def _batch(batch_size: int, device: torch.device, layout: torch.memory_format) -> Batch:
    size = (batch_size, 3, 256, 256)
    images = [(torch.rand(size, device=device) * 2 - 1).contiguous(memory_format=layout) for _ in range(2)]
    return Batch(images[0], images[1], 0)


def _ours(batch_size: int, device: torch.device, precision: str) -> Callable[[], None]:
    config = _config(batch_size, precision)
    step, batch = make_step(make_state(config, device), config), _batch(batch_size, device, torch.channels_last)
    return _warmed(lambda: step(batch), device)


def _reference(batch_size: int, device: torch.device) -> Callable[[], None]:
    config = _config(batch_size, "fp32")
    state, batch = make_state(config, device), _batch(batch_size, device, torch.contiguous_format)
    assert state.adversary is not None
    for module in (state.generator, state.adversary.discriminator):
        module.to(memory_format=torch.contiguous_format)

    def run() -> None:
        for loss in training_step(state, config, batch).values():
            loss.item()

    return _warmed(run, device)


def _warmed(run: Callable[[], object], device: torch.device) -> Callable[[], None]:
    def run_and_forget() -> None:
        run()

    for _ in range(8 if device.type == "cuda" else 2):
        run_and_forget()
    return run_and_forget


def _steps_per_s(run: Callable[[], None], seconds: float) -> float:
    _wait()
    started_s, steps = time.perf_counter(), 0
    while time.perf_counter() - started_s < seconds:
        for _ in range(10 if torch.cuda.is_available() else 1):
            run()
            steps += 1
        _wait()
    return steps / (time.perf_counter() - started_s)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
