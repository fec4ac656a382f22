"""Claim: batches of pairs that are streamed from a store cost a small share of a training step.

Side-by-side pictures (PICTURES_DIR) become a store of pairs of 286 px; batches are made of them as the paper does, crops of
256 px and mirrored. Streamed: each pair read from its shard, decompressed, augmented, nothing kept. Resident: the same
batches of pairs in memory. Both without networks, then both with the paper's networks, interleaved.

    python -m benchmarks.training_loader PICTURES_DIR [--batches 1 16] [--rounds 5] [--images 800] [--steps 4]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.config import replace
from p2p_core.encodings import encoding
from p2p_core.pairstore import PairStore
from p2p_core.recipes import facades
from p2p_core.training.config import RunConfig
from p2p_core.training.data import Batches
from p2p_core.training.fast_step import make_step
from p2p_core.training.step import make_state
from p2p_core.training.streaming import training_pairs
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import NameSplit

_WAYS = {"resident": None, "streamed": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, metavar="PICTURES_DIR", help="a directory of side-by-side pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--images", type=int, default=800, help="a round, without networks")
    parser.add_argument("--steps", type=int, default=4, help="a round, with networks")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as directory:
        store = Path(directory) / "store"
        parameters = FoldersParameters(layout="side_by_side", resize_px=(256, 256), jitter_px=30)
        build_dataset(FoldersBuilder((options.pictures,), parameters), store, NameSplit(near_duplicates="keep"))
        rows = [row for size in options.batches for row in _rows(store, size, device, options)]
        num_pairs = len(PairStore.open(store).split("train"))
    write_result("training-loader", _page(rows, num_pairs, options))


def _rows(store: Path, batch_size: int, device: torch.device, options: argparse.Namespace) -> list[tuple[str, ...]]:
    # A core without bf16 instructions imitates them, many times slower.
    precision = "bf16" if device.type == "cuda" else "fp32"
    config = replace(facades(), batch_size=batch_size, precision=precision)
    batches = {way: _batches(store, config, device, limit) for way, limit in _WAYS.items()}
    step = make_step(make_state(config, device), config)
    alone: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
    trained: dict[str, list[tuple[float, float]]] = {way: [] for way in _WAYS}
    for number in range(options.rounds + 1):
        for way, of in batches.items():
            loaded = _timed(of, options.images // batch_size, lambda _: None, device)
            learnt = _timed(of, options.steps, step, device)
            if number:  # the first warms up
                alone[way].append(loaded)
                trained[way].append(learnt)
    return [
        (
            f"{batch_size}",
            way,
            f"{1 / statistics.median(wall_s for wall_s, _ in alone[way]):,.0f}",
            f"{1000 * statistics.median(cpu_s for _, cpu_s in alone[way]):.2f}",
            f"{1 / statistics.median(wall_s for wall_s, _ in trained[way]):.2f}",
        )
        for way in _WAYS
    ]


def _batches(store: Path, config: RunConfig, device: torch.device, resident_gb: float | None) -> Batches:
    opened = PairStore.open(store)
    encodings = encoding(opened.manifest.input_encoding), encoding(opened.manifest.target_encoding)
    pairs = training_pairs(opened.split("train"), device, encodings, resident_gb)
    return Batches(pairs, config.augment, config.batch_size, config.seed)


def _timed(batches: Batches, count: int, use: Callable[..., object], device: torch.device) -> tuple[float, float]:
    """Seconds an image, by the clock and of all cores."""
    begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
    for number in range(count):
        use(batches.at(number * batches.batch_size))
    if device.type == "cuda":
        torch.cuda.synchronize()
    num_images = count * batches.batch_size
    return (time.perf_counter() - begin_s) / num_images, (time.process_time() - begin_cpu_s) / num_images


def _page(rows: list[tuple[str, ...]], num_pairs: int, options: argparse.Namespace) -> str:
    head = ("batch", "pairs", "batches alone, images/s", "CPU ms an image", "with the paper's networks, images/s")
    return f"""# Batches of streamed pairs beside those of resident ones

{table(head, rows)}

{num_pairs} pairs of 286 px, crops of 256 px, mirrored; on a GPU bf16, else fp32. Medians of {options.rounds} rounds.

{hardware_name()}, torch {torch.__version__}.

    python -m benchmarks.training_loader PICTURES_DIR --rounds {options.rounds} --images {options.images}
"""


if __name__ == "__main__":
    main()
