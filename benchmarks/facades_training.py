"""Train facades as in the paper (400 pairs, 200 epochs, batch 1) and score the validation split. Needs a GPU to be quick.

    python -m benchmarks.facades_training FACADES_DIR OUT_DIR [--epochs 200] [--set precision=bf16]

FACADES_DIR holds `train` and `val` of side-by-side pictures, photo left, label right. Writes OUT_DIR/result.md (hardware,
time, images/s, scores beside the baselines) and OUT_DIR/sheet.png. A killed run goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks.hardware import hardware_name
from p2p_core.config import replace, with_settings
from p2p_core.evaluation.evaluate import Evaluation, evaluate
from p2p_core.files import write_atomic
from p2p_core.model.norm import NORM_MODES
from p2p_core.progress import ProgressLine, format_duration
from p2p_core.recipes import facades
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.loop import train
from p2p_core.training.result import TrainingResult
from p2p_core.training.tracker import JsonLinesTracker
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import DirectorySplit

_PAIRS = 400


def main() -> None:
    options = _options()
    store, run_dir = options.out / "pairs", options.out / "run"
    builder = FoldersBuilder((options.facades,), FoldersParameters(layout="side_by_side", input_side="right"))
    build_dataset(builder, store, DirectorySplit())
    config = with_settings(replace(facades(), budget_images=_PAIRS * options.epochs), options.set)
    checkpoint = latest_checkpoint(run_dir / "checkpoints")
    tracker = JsonLinesTracker(run_dir, resume_from=int(checkpoint.name) if checkpoint else 0)
    with ProgressLine("train", config.budget_images, "images") as progress:
        result = train(config, store, run_dir, tracker=tracker, progress=progress, resume=True)
    tracker.close()
    # The paper tests with each image's own statistics (spec, "Normalisation at test time").
    evaluation = evaluate(result.bundle, store, split="val", norm="instance", sheet=options.out / "sheet.png")
    write_atomic(options.out / "result.md", _report(options.epochs, config.precision, result, evaluation).encode())
    print((options.out / "result.md").read_text())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("facades", type=Path, metavar="FACADES_DIR")
    parser.add_argument("out", type=Path, metavar="OUT_DIR")
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


def _report(epochs: int, precision: str, result: TrainingResult, evaluation: Evaluation) -> str:
    trained = result.images_seen - result.resumed_from
    rows = "\n".join(
        f"| {name} | {s.l1:.2f} | {s.psnr_db:.2f} | {s.ssim:.3f} | {s.gradient_energy_ratio:.2f} |"
        for name, s in evaluation.scores.items()
    )
    return f"""# Facades, {_PAIRS} pairs, {epochs} epochs, batch 1, {precision}

{hardware_name()}, torch {torch.__version__}. {trained} images in {format_duration(result.elapsed_s)}: \
{trained / result.elapsed_s:.1f} images/s, with augmentation, validation and checkpoints.

Split `{evaluation.split}`, {evaluation.num_images} images, norm {evaluation.protocol.norm}, L1 in grey levels of 255.

| | L1 | PSNR dB | SSIM | gradient energy ratio |
|---|---|---|---|---|
{rows}

Validation L1 by norm: {", ".join(f"{norm} {result.metrics[f'{norm}_l1']:.2f}" for norm in NORM_MODES)}.
"""


if __name__ == "__main__":
    main()
