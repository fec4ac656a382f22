"""Claim: images/s of a whole training run at 256 px with the paper's networks: loader, jitter, mirror and logging on.

The rate is what the run itself logs, so validation and checkpoints are no part of it; the median of a run's logged
rates without the first three. Each row is a run of its own, one after the other.

    python -m benchmarks.training_rate STORE [--batches 1 16 64] [--steps 1000] [--precisions bf16] [--compile]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.config import replace
from p2p_core.recipes import facades
from p2p_core.training.config import RunConfig
from p2p_core.training.loop import train
from p2p_core.training.tracker import JsonLinesTracker, read_metrics

_LOGGED = 10
_NOT_COUNTED = 3
"""Logged rates of the beginning: warm-up, capture of the graph, compilation."""


def main() -> None:
    options = _options()
    runs = [
        _config(batch_size, precision, options.steps, compiled)
        for batch_size in options.batches
        for precision in options.precisions
        for compiled in ((False, True) if options.compile else (False,))
    ]
    rows = []
    for config in runs:
        rate, start_s = _measure(config, options.store)
        rows.append((str(config.batch_size), config.precision, str(config.compile).lower(), f"{rate:.0f}", f"{start_s:.0f} s"))
        print(rows[-1], flush=True)
    head = ("batch", "precision", "compile", "images/s", "before the rate is steady")
    write_result("training-rate", _page(table(head, rows), options.steps))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path, metavar="STORE", help="a PairStore of 256 px pairs with a split `train` and `val`")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--precisions", nargs="+", default=["bf16"], choices=["fp32", "bf16"])
    parser.add_argument("--steps", type=int, default=1000, help="of each run")
    parser.add_argument("--compile", action="store_true", help="also measure each run with compile=true")
    return parser.parse_args()


def _config(batch_size: int, precision: str, steps: int, compiled: bool) -> RunConfig:
    return replace(
        facades(),
        batch_size=batch_size,
        precision=precision,
        compile=compiled,
        budget_images=batch_size * steps,
        log_every_images=batch_size * steps // _LOGGED,
        validate_every_images=0,
        checkpoint_every_images=0,
    )


class _Clock:
    """Notes when the rate began to count."""

    def __init__(self, config: RunConfig) -> None:
        self._from = config.log_every_images * _NOT_COUNTED
        self._began_s = time.monotonic()
        self.start_s = 0.0

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        if not self.start_s and done >= self._from:
            self.start_s = time.monotonic() - self._began_s


def _measure(config: RunConfig, store: Path) -> tuple[float, float]:
    """Images/s, and the seconds until the first counted figure began."""
    with tempfile.TemporaryDirectory() as run_dir:
        tracker, clock = JsonLinesTracker(Path(run_dir)), _Clock(config)
        train(config, store, Path(run_dir), tracker=tracker, progress=clock)
        tracker.close()
        rates = [m["images_per_s"] for m in read_metrics(tracker.path) if "images_per_s" in m]
    return statistics.median(rates[_NOT_COUNTED:]), clock.start_s


def _page(figures: str, steps: int) -> str:
    return f"""# Training rate at 256 px, the paper's networks, loader and augmentation on

{figures}

{hardware_name()}, torch {torch.__version__}. Runs of {steps} steps; the store resident on the device.

    python -m benchmarks.training_rate STORE --steps {steps}
"""


if __name__ == "__main__":
    main()
