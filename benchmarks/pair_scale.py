"""Claim: a build's memory grows by a few kilobytes a pair of any size, and its time per pair does not.

Sources are JPEG photos of 48x48 px, each of its own smooth noise, built as `gray` pairs with near duplicates looked for, as
by default. Each size is built in a process of its own, whose peak memory the operating system tells.

    python -m benchmarks.pair_scale [--sizes 1000,10000,100000]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from preprocessing.build import build_dataset
from preprocessing.gray import GrayBuilder
from preprocessing.sizing import PictureParameters
from preprocessing.split import NameSplit

_SIDE_PX, _A_DIRECTORY = 48, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--work", type=Path, default=None, metavar="DIR", help="where sources and stores are made")
    parser.add_argument("--one", nargs=2, type=Path, metavar=("PHOTOS", "STORE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_measured(*options.one)))
        return
    sizes = [int(size) for size in options.sizes.split(",")]
    with tempfile.TemporaryDirectory(dir=options.work) as directory:
        work = Path(directory)
        _make_photos(work / "photos", max(sizes))
        measured = {size: _in_own_process(work, size) for size in sizes}
    write_result("pair-scale", _page(measured, options.sizes))


def _make_photos(out: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        directory = out / f"{number // _A_DIRECTORY:03d}"
        directory.mkdir(parents=True, exist_ok=True)
        noise = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        cv2.imwrite(
            str(directory / f"{number:06d}.jpg"), cv2.resize(noise, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_CUBIC)
        )


def _in_own_process(work: Path, size: int) -> dict[str, float]:
    photos = work / f"photos{size}"
    for path in sorted((work / "photos").rglob("*.jpg"))[:size]:
        place = photos / path.parent.name / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, place)
    command = [sys.executable, "-m", "benchmarks.pair_scale", "--one", str(photos), str(work / f"store{size}")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _measured(photos: Path, store: Path) -> dict[str, float]:
    builder = GrayBuilder((photos,), PictureParameters(resize_px=(_SIDE_PX, _SIDE_PX)))
    before_mb = _peak_mb()
    started_s, started_cpu_s = time.perf_counter(), time.process_time()
    summary = build_dataset(builder, store, NameSplit())
    elapsed_s, cpu_s = time.perf_counter() - started_s, time.process_time() - started_cpu_s
    peak_mb = _peak_mb()
    started_s = time.perf_counter()
    assert build_dataset(builder, store, NameSplit()).unchanged
    again_s = time.perf_counter() - started_s
    return {
        "pairs": sum(summary.counts.values()),
        "elapsed_s": elapsed_s,
        "cpu_s": cpu_s,
        "before_mb": before_mb,
        "peak_mb": peak_mb,
        "again_s": again_s,
    }


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _page(measured: dict[int, dict[str, float]], sizes: str) -> str:
    head = ("photos", "pairs", "s", "CPU ms a pair", "peak memory, MB", "of it before", "nothing changed, s")
    rows = [
        (
            f"{size:,}",
            f"{m['pairs']:,.0f}",
            f"{m['elapsed_s']:.1f}",
            f"{1000 * m['cpu_s'] / m['pairs']:.2f}",
            f"{m['peak_mb']:.0f}",
            f"{m['before_mb']:.0f}",
            f"{m['again_s']:.2f}",
        )
        for size, m in measured.items()
    ]
    return f"""# Building 1,000 to 100,000 pairs in one process

{table(head, rows)}

Photos of {_SIDE_PX}x{_SIDE_PX} px, so that what a pair costs beside its pixels shows; near duplicates are looked for among all.
Before: the libraries alone.

{hardware_name()}.

    python -m benchmarks.pair_scale --sizes {sizes}
"""


if __name__ == "__main__":
    main()
