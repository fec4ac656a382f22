"""Score a model on a split, and put the scores on its version in the registry, where the promotion gate reads them."""

from __future__ import annotations

from pathlib import Path

from flows.services.models import default_tracking_uri, resolve_model
from p2p_core.config import Config
from p2p_core.evaluation.evaluate import Evaluation, evaluate
from p2p_core.files import write_json

__all__ = ["EvaluateRequest", "evaluate_model", "table_of_scores", "tell_scores"]


class EvaluateRequest(Config):
    """One model on one split.

    Attributes:
        model: a bundle directory or a `models:/` URI.
        json_path, sheet_path: where to write the scores, and a picture of evenly chosen pairs.
    """

    model: str
    data: Path
    split: str = "test"
    json_path: Path | None = None
    sheet_path: Path | None = None
    tracking_uri: str | None = None


def evaluate_model(request: EvaluateRequest) -> Evaluation:
    """Raises what `resolve_model` and `evaluate` raise."""
    resolved = resolve_model(request.model, tracking_uri=request.tracking_uri)
    evaluation = evaluate(resolved.bundle, request.data, split=request.split, sheet=request.sheet_path)
    if request.json_path:
        write_json(request.json_path, evaluation.model_dump(mode="json"))
    if resolved.name and resolved.version:
        from flows.services.promotion import record_evaluation

        tracking_uri = request.tracking_uri or default_tracking_uri()
        record_evaluation(resolved.name, resolved.version, evaluation, tracking_uri=tracking_uri)
    return evaluation


def tell_scores(made: Evaluation) -> str:
    """The scores, for people."""
    model = made.scores["model"]
    baselines = ", ".join(f"{name} {scores.l1:.2f}" for name, scores in made.scores.items() if name != "model")
    return f"{made.split} L1 {model.l1:.2f} ({baselines}), PSNR {model.psnr_db:.1f} dB, SSIM {model.ssim:.3f}"


def table_of_scores(made: Evaluation) -> str:
    """One line an answer: the model, then its baselines."""
    header = f"{'':<10}{'L1':>8}{'PSNR dB':>10}{'SSIM':>8}{'gradient':>10}{'checker':>9}"
    rows = [
        f"{name:<10}{s.l1:>8.2f}{s.psnr_db:>10.2f}{s.ssim:>8.3f}{s.gradient_energy_ratio:>10.2f}{s.checkerboard_ratio:>9.2f}"
        for name, s in made.scores.items()
    ]
    of = f"{made.num_images} images of {made.split}; dataset {made.dataset_digest[:16]}, model {made.model_digest[:16]}"
    return "\n".join(
        [of, header, *rows, "L1 in grey levels of 255; gradient and checkerboard energy as ratios to the targets'"]
    )
