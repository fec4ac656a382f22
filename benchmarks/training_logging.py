"""Claim: logging to MLflow takes at most 1 % of a training's time, whether the server is there or away.

Real steps, a line of the log every few images; rounds without tracking, with `metrics.jsonl` alone, with an MLflow server on
this machine, and with an address where none answers, interleaved. Step times are medians over the rounds; they move with
whatever else the machine does. The share is what logging itself took: the training's thread in calls of the trackers, and the
processor time of the thread that talks to the server, over the time of the round. Narrow networks, whose steps are short, and
lines more often than a recipe's every 200 images make it larger than it is in use.

    python -m benchmarks.training_logging [--rounds 5] [--seconds 20] [--every 20] [--base-width 8]
"""

from __future__ import annotations

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from flows.services.mlflow_tracking import MlflowTracker
from p2p_core.config import replace
from p2p_core.recipes import facades
from p2p_core.training.data import Batch
from p2p_core.training.fast_step import Step, make_step
from p2p_core.training.step import make_state
from p2p_core.training.tracker import JsonLinesTracker, Tracker

_NOWHERE = "http://127.0.0.1:9"
_WAYS = ("nothing", "metrics.jsonl", "and an MLflow server", "and one that is away")


def main() -> None:
    options = _options()
    generator, discriminator = (
        replace(part, base_width=options.base_width) for part in (facades().generator, facades().discriminator)
    )
    config = replace(facades(), generator=generator, discriminator=discriminator)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    step = make_step(make_state(config, device), config)
    size = (1, 3, config.augment.crop_px, config.augment.crop_px)
    images = [torch.rand(size, device=device).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    batch = Batch(images[0], images[1], 0)
    for _ in range(8):
        float(step(batch)["generator_l1"])
    steps_s: dict[str, list[float]] = {way: [] for way in _WAYS}
    shares: dict[str, list[float]] = {way: [] for way in _WAYS}
    with tempfile.TemporaryDirectory() as directory, _server(Path(directory)) as address:
        for number in range(options.rounds):
            for way in _WAYS:
                run_dir = Path(directory) / f"{_WAYS.index(way)}-{number}"
                step_s, share = _round(step, batch, _trackers(way, run_dir, address), options)
                steps_s[way].append(step_s)
                shares[way].append(share)
    rows = [
        (
            way,
            f"{1000 * statistics.median(steps_s[way]):.1f}",
            f"{statistics.median(shares[way]):.3%}",
            f"{max(shares[way]):.3%}",
        )
        for way in _WAYS
    ]
    head = ("tracking", "step, ms", "logging's share, median", "largest")
    write_result("training-logging", f"{_intro(options, device)}\n\n{table(head, rows)}\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20, help="per round and way")
    parser.add_argument("--every", type=int, default=20, help="images a line of the log; the recipe's is 200")
    parser.add_argument("--base-width", type=int, default=8, help="of both networks; the recipe's is 64")
    return parser.parse_args()


def _intro(options: argparse.Namespace, device: torch.device) -> str:
    command = " ".join(f"--{name.replace('_', '-')} {value:g}" for name, value in vars(options).items())
    return (
        f"# Logging's share of a training\n\n{hardware_name()}, {device}, torch {torch.__version__}, facades, 256 px, batch 1, "
        f"base width {options.base_width}, a line of the log every {options.every} images, {options.rounds} rounds of "
        f"{options.seconds:g} s each, interleaved.\n\n`python -m benchmarks.training_logging {command}`"
    )


def _trackers(way: str, run_dir: Path, address: str) -> list[Tracker]:
    trackers: list[Tracker] = [JsonLinesTracker(run_dir)] if way != _WAYS[0] else []
    if way in _WAYS[2:]:
        uri = address if way == _WAYS[2] else _NOWHERE
        trackers.append(MlflowTracker(uri, "benchmark", run_dir, tags={}, warn=lambda _: None))
    return trackers


def _round(step: Step, batch: Batch, trackers: list[Tracker], options: argparse.Namespace) -> tuple[float, float]:
    """Seconds a step, and the share of the time that logging took. Connecting at the start and the end are no steps."""
    mlflow = next((tracker for tracker in trackers if isinstance(tracker, MlflowTracker)), None)
    thread_s, logging_s, images = mlflow.spent_s if mlflow else 0.0, 0.0, 0
    started_s = time.perf_counter()
    while (elapsed_s := time.perf_counter() - started_s) < options.seconds:
        losses = step(batch)
        images += 1
        values = {name: float(loss) for name, loss in losses.items()}  # waits for the device
        if images % options.every == 0:
            began_s = time.perf_counter()
            for tracker in trackers:
                tracker.log_metrics(values, images)
            logging_s += time.perf_counter() - began_s
    if mlflow:
        logging_s += mlflow.spent_s - thread_s
        mlflow.finish("FINISHED")
    for tracker in trackers:
        tracker.close()
    return elapsed_s / images, logging_s / elapsed_s


@contextmanager
def _server(place: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{place}/mlflow.db", "--artifacts-destination", str(place / "artifacts")]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(address):
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait()


def _answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
        return True
    return False


if __name__ == "__main__":
    main()
