"""Claim: edges of photos, ours against the reference way, in images/s on a CPU; and the memory that a very large photo takes.

Same weights and constants (the published ones), 256 px photos cut from those that scikit-image ships, rounds interleaved,
medians. The reference way: the photo mirrored by 128 px, batch 1, eager fp32 PyTorch, then the post-processing as a
straightforward port to numpy and scikit-image does it, on every pixel. Wants a quiet machine.

    python -m benchmarks.edges_speed [--photos 8] [--rounds 5] [--threads 2] [--large-px 10000]

Legend: H W pixels, C bands.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import ncnn
import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from scipy.ndimage import convolve1d
from skimage.morphology import remove_small_objects
from skimage.morphology import thin as skimage_thin

from benchmarks.hardware import hardware_name
from benchmarks.result_file import table, write_result
from p2p_core.config import replace
from preprocessing.edges.agreement import TOLERANCE_PX, Agreement, agreement, mean_agreement
from preprocessing.edges.detect import DetectorConfig, EdgeDetector
from preprocessing.edges.drawing import EdgesConfig, edge_picture
from preprocessing.edges.thinning import ThinningConfig, edge_lines
from preprocessing.edges.torch_network import HED
from preprocessing.edges.weights import HEDWeights, read_weights

_SHIPPED = ("astronaut", "chelsea", "coffee", "rocket")
_CORNERS = ((0.5, 0.5), (0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0))
_SIZE_PX, _REFERENCE_PADDING_PX = 256, 128
_PUBLISHED = replace(ThinningConfig(), threshold=25 / 255)
_SPINS = "50000"  # threads that wait for their next layer do not sleep at once, nor take the cores from others for long
_POST_REPEATS = 10
_BYTES_A_GB = 1e9

Photo = NDArray[np.uint8]
Probability = NDArray[np.float32]
Lines = NDArray[np.bool_]


@dataclass(frozen=True)
class _Side:
    """One contender. `network` takes all photos, `draw` one probability map."""

    name: str
    network: Callable[[Sequence[Photo]], list[Probability]]
    draw: Callable[[Probability], Lines]


@dataclass
class _Times:
    network_s: list[float] = field(default_factory=list)
    post_s: list[float] = field(default_factory=list)

    def images_per_s(self, num_photos: int) -> tuple[float, float, float]:
        """In all, of the network, of the post-processing: medians over rounds."""
        both_s = [sum(pair) for pair in zip(self.network_s, self.post_s, strict=True)]
        whole, network, post = (num_photos / statistics.median(s) for s in (both_s, self.network_s, self.post_s))
        return whole, network, post


def main() -> None:
    options = _options()
    environment = {"GOMP_SPINCOUNT": _SPINS, "OMP_NUM_THREADS": str(options.threads)}
    if any(os.environ.get(name) != value for name, value in environment.items()):  # libraries read it when they are loaded
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.edges_speed", *sys.argv[1:]], os.environ | environment)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    if options.measure_large:
        print(json.dumps(_large_photo(options.large_px)))
        return
    load = os.getloadavg()[0]
    if load > 1:
        print(f"WARNING: load average {load:.1f}: something else is running, the figures mean little", file=sys.stderr)
    large = _in_fresh_process(options) if options.large_px else None
    weights, photos = read_weights(), _photos(options.photos)
    sides = _sides(weights)
    times, drawn = _race(sides, photos, options.rounds)
    agreements = [_mean_agreement(lines, drawn[sides[0].name]) for lines in drawn.values()]
    post_ms = _post_on_one_thread(sides[0], sides[1], photos)
    write_result("edges-speed", _report(options, load, times, agreements, post_ms, large, weights.sha256))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=int, default=8, choices=range(1, len(_SHIPPED) * len(_CORNERS) + 1), metavar="N")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--large-px", type=int, default=10_000, metavar="PX", help="side of the large photo; 0: leave it out")
    parser.add_argument("--measure-large", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _photos(number: int) -> list[Photo]:
    """(256, 256, 3) each: first the middle of every shipped photo, then its corners."""
    photos = []
    for index in range(number):
        whole_HWC = getattr(skimage.data, _SHIPPED[index % len(_SHIPPED)])()
        top, left = (
            int(share * (size_px - _SIZE_PX))
            for share, size_px in zip(_CORNERS[index // len(_SHIPPED)], whole_HWC.shape[:2], strict=True)
        )
        photos.append(np.ascontiguousarray(whole_HWC[top : top + _SIZE_PX, left : left + _SIZE_PX]))
    return photos


def _sides(weights: HEDWeights) -> list[_Side]:
    ncnn_detector = EdgeDetector(weights, DetectorConfig())
    torch_detector = EdgeDetector(weights, DetectorConfig(engine="torch"), batch=4)

    def draw(probability_HW: Probability) -> Lines:
        return edge_lines(probability_HW, _PUBLISHED)

    return [
        _Side("reference", _reference_network(weights), _reference_lines),
        _Side("ours (engine ncnn)", ncnn_detector.probabilities, draw),
        _Side("ours, engine torch, batch 4", torch_detector.probabilities, draw),
    ]


def _race(sides: Sequence[_Side], photos: Sequence[Photo], rounds: int) -> tuple[dict[str, _Times], dict[str, list[Lines]]]:
    times = {side.name: _Times() for side in sides}
    drawn = {}
    for side in sides:  # the first run is not timed
        drawn[side.name] = [side.draw(probability_HW) for probability_HW in side.network(photos)]
    for _ in range(rounds):
        for side in sides:
            started_s = time.perf_counter()
            probabilities = side.network(photos)
            between_s = time.perf_counter()
            for probability_HW in probabilities:
                side.draw(probability_HW)
            times[side.name].network_s.append(between_s - started_s)
            times[side.name].post_s.append(time.perf_counter() - between_s)
    return times, drawn


def _reference_network(weights: HEDWeights) -> Callable[[Sequence[Photo]], list[Probability]]:
    network, pad_px = HED(weights), _REFERENCE_PADDING_PX

    @torch.no_grad()
    def run(photos: Sequence[Photo]) -> list[Probability]:
        probabilities = []
        for photo_HWC in photos:
            padded_HWC = np.pad(photo_HWC, ((pad_px, pad_px), (pad_px, pad_px), (0, 0)), mode="reflect").astype(np.float32)
            photo_NCHW = torch.from_numpy(np.ascontiguousarray(padded_HWC.transpose(2, 0, 1)))[None]
            probabilities.append(network(photo_NCHW)[0, 0].numpy()[pad_px:-pad_px, pad_px:-pad_px])
        return probabilities

    return run


def _reference_lines(probability_HW: Probability) -> Lines:
    """PostprocessHED.m line by line (spec, section 4)."""
    kernel = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1], np.float32) / 25
    smooth = convolve1d(convolve1d(probability_HW, kernel, axis=0, mode="reflect"), kernel, axis=1, mode="reflect")
    along_y, along_x = np.gradient(smooth)
    xy, xx = np.gradient(along_x)
    yy, _ = np.gradient(along_y)
    across = np.mod(np.arctan(yy * np.sign(-xy) / (xx + 1e-5)), np.pi)
    height_px, width_px = probability_HW.shape
    y, x = np.mgrid[:height_px, :width_px]
    edges = probability_HW.copy()
    for step_px in (-1, 1):
        at_x = np.clip(x + step_px * np.cos(across), 0, width_px - 1.001)
        at_y = np.clip(y + step_px * np.sin(across), 0, height_px - 1.001)
        left, top = np.floor(at_x).astype(int), np.floor(at_y).astype(int)
        dx, dy = at_x - left, at_y - top
        upper = probability_HW[top, left] * (1 - dx) + probability_HW[top, left + 1] * dx
        lower = probability_HW[top + 1, left] * (1 - dx) + probability_HW[top + 1, left + 1] * dx
        edges[probability_HW * 1.01 < upper * (1 - dy) + lower * dy] = 0
    for distance in range(5):
        for border in (edges[distance], edges[-1 - distance], edges[:, distance], edges[:, -1 - distance]):
            border *= distance / 5
    lines: Lines = remove_small_objects(skimage_thin(edges >= _PUBLISHED.threshold), max_size=4, connectivity=2)
    return lines


def _post_on_one_thread(reference: _Side, ours: _Side, photos: Sequence[Photo]) -> dict[str, list[float]]:
    """CPU milliseconds of every photo on one thread, the median of repeats; the network is not in it."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    results: dict[str, list[float]] = {reference.name: [], ours.name: []}
    for probability_HW in ours.network(photos):
        for side in (reference, ours):
            took_ms = []
            for _ in range(_POST_REPEATS):
                started_s = time.thread_time()
                side.draw(probability_HW)
                took_ms.append(1000 * (time.thread_time() - started_s))
            results[side.name].append(statistics.median(took_ms))
    cv2.setNumThreads(before)
    return results


def _mean_agreement(lines: Sequence[Lines], reference: Sequence[Lines]) -> Agreement:
    return mean_agreement([agreement(ours, theirs) for ours, theirs in zip(lines, reference, strict=True)])


def _in_fresh_process(options: argparse.Namespace) -> dict[str, float]:
    """A process's peak never falls, so a photo's own needs one of its own."""
    program = [sys.executable, "-m", "benchmarks.edges_speed", "--measure-large"]
    program += ["--large-px", str(options.large_px), "--threads", str(options.threads)]
    done = subprocess.run(program, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _large_photo(side_px: int) -> dict[str, float]:
    """Seconds, and peak gigabytes before the edges (Python, the weights, the photo) and with them; kibibytes are Linux's."""
    whole_HWC = np.concatenate([skimage.data.astronaut(), skimage.data.coffee()[:400, :512]])
    repeats = [-(-side_px // size_px) for size_px in whole_HWC.shape[:2]]
    photo_HWC = np.tile(whole_HWC, (*repeats, 1))[:side_px, :side_px].copy()
    detector = EdgeDetector(read_weights(), DetectorConfig())
    before_kib, started_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    picture_HW = edge_picture(detector.probability(photo_HWC), EdgesConfig())
    elapsed_s, peak_kib = time.perf_counter() - started_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kib = 1024 / _BYTES_A_GB
    return {
        "elapsed_s": elapsed_s,
        "before_gb": before_kib * kib,
        "peak_gb": peak_kib * kib,
        "black_share": float((picture_HW == 0).mean()),
    }


def _report(
    options: argparse.Namespace,
    load: float,
    times: dict[str, _Times],
    agreements: Sequence[Agreement],
    post_ms: dict[str, list[float]],
    large: dict[str, Any] | None,
    weights_sha256: str,
) -> str:
    rates = {name: found.images_per_s(options.photos) for name, found in times.items()}
    reference = next(iter(rates.values()))
    rows = []
    for (name, rate), agreed in zip(rates.items(), agreements, strict=True):
        split = (f"{value:.2f} ({value / base:.1f}x)" for value, base in zip(rate, reference, strict=True))
        rows.append((name, *split, *(f"{value:.4f}" for value in agreed)))
    head = ("", "images/s", "network", "post-processing", "precision", "recall", "F")
    post_rows = [(name, f"{statistics.median(ms):.1f}", f"{min(ms):.1f}", f"{max(ms):.1f}") for name, ms in post_ms.items()]
    return f"""# Edges of {_SIZE_PX} px photos, ours against the reference way

{table(head, rows)}

Agreement is with the reference's edges, both thinned, within {TOLERANCE_PX:g} px: precision is the share of ours near theirs.

Post-processing of one photo on one thread, milliseconds of CPU time:

{table(("", "median", "fastest", "slowest"), post_rows)}
{_large_text(options.large_px, large)}
{options.photos} photos cut from scikit-image's {", ".join(_SHIPPED)}; medians of {options.rounds} interleaved rounds after one
that is not timed; threshold 25/255 on all sides. Reference: {_REFERENCE_PADDING_PX} px mirrored, batch 1, eager fp32 NCHW, and
numpy on every pixel. Ours: {DetectorConfig().padding_px} px mirrored. Weights: sha256 {weights_sha256}.

{hardware_name()}; {options.threads} threads, GOMP_SPINCOUNT={_SPINS}, load average {load:.1f} at the start; torch
{torch.__version__}, ncnn {ncnn.__version__}, OpenCV {cv2.__version__}, numpy {np.__version__}.

    python -m benchmarks.edges_speed --photos {options.photos} --rounds {options.rounds} --threads {options.threads}
"""


def _large_text(side_px: int, large: dict[str, Any] | None) -> str:
    if not large:
        return ""
    return f"""
A photo of {side_px} x {side_px} px, in a process of its own: {large["elapsed_s"]:.0f} s; resident at most
{large["peak_gb"]:.2f} GB, of which {large["before_gb"]:.2f} GB before (Python, the network, the photo's
{3 * side_px**2 / _BYTES_A_GB:.2f} GB twice while it is tiled). {large["black_share"]:.1%} of its pixels are edges.
"""


if __name__ == "__main__":
    main()
