"""From a pair store to a model with a version, a score and, if it earns it, the alias `champion`."""

from __future__ import annotations

from flows.services.launcher import launch_training
from flows.services.models import ResolvedModel, resolve_model
from flows.services.promotion import CHAMPION, Promotion, promote, record_evaluation
from flows.services.registry import register_bundle
from flows.services.training_protocol import TrainingOutcome, TrainingRequest
from flows.stages.evaluate import EvaluateRequest, evaluate_model, tell_scores
from flows.steps.book import Done, Previous, timed
from flows.steps.request import PipelineRequest, clear
from p2p_core.config import Config, with_settings
from p2p_core.evaluation.evaluate import Evaluation
from p2p_core.files import write_json
from p2p_core.progress import format_duration
from p2p_core.recipes import recipe
from preprocessing.build import BuildSummary

__all__ = ["Chosen", "evaluate_bundle", "promote_version", "train_model"]


class Chosen(Config):
    """The gate's decision, and the model that translates either way.

    Attributes:
        existed: the version had been registered by an earlier run.
    """

    promotion: Promotion
    model: ResolvedModel
    existed: bool


def train_model(request: PipelineRequest, pairs: BuildSummary) -> Done[TrainingOutcome]:
    """Train for the budget; a run that was killed goes on from its checkpoint and in its MLflow run."""
    run_dir = request.out / "run"
    config = with_settings(recipe(request.recipe), request.settings)
    inputs = {
        **request.model_dump(mode="json", include={"images", "minutes"}),
        "config": config.model_dump(mode="json"),
        "dataset": pairs.digest,
    }

    def work(previous: Previous) -> TrainingOutcome:
        if previous == "other":
            clear(run_dir)
        training = TrainingRequest(
            recipe=request.recipe,
            data=request.out / "pairs",
            run_dir=run_dir,
            settings=request.settings,
            images=request.images,
            minutes=request.minutes,
            resume=previous == "same",
            tracking_uri=request.tracking,
            experiment=request.model_name,
        )
        return launch_training(training)

    return request.book.once("train", TrainingOutcome, inputs, [run_dir / "bundle", run_dir / "result.json"], work, _tell_train)


def _tell_train(made: TrainingOutcome) -> str:
    again = f", resumed at {made.resumed_from}" if made.resumed_from else ""
    return f"{made.images_seen} images on {made.device} in {format_duration(made.elapsed_s)}{again}"


def evaluate_bundle(request: PipelineRequest, pairs: BuildSummary, trained: TrainingOutcome) -> Done[Evaluation]:
    """Score on the held-out blocks beside the baselines."""
    out = request.out / "evaluation"
    inputs = {"dataset": pairs.digest, "bundle": trained.bundle_digest, "split": "test"}
    json_path, sheet_path = out / "evaluation.json", out / "sheet.png"
    evaluation = EvaluateRequest(
        model=str(request.out / "run" / "bundle"), data=request.out / "pairs", json_path=json_path, sheet_path=sheet_path
    )
    return request.book.once(
        "evaluate", Evaluation, inputs, [json_path, sheet_path], lambda _: evaluate_model(evaluation), tell_scores
    )


def promote_version(request: PipelineRequest, trained: TrainingOutcome, evaluation: Evaluation) -> Done[Chosen]:
    """Register the bundle, ask the gate, and fetch what the registry then holds: the champion, or this very version."""
    name, tracking_uri = request.model_name, request.tracking

    def work() -> Chosen:
        bundle = request.out / "run" / "bundle"
        registered = register_bundle(bundle, name, tracking_uri=tracking_uri, run_id=trained.run_id)
        record_evaluation(name, registered.version, evaluation, tracking_uri=tracking_uri)
        promotion = promote(name, registered.version, tracking_uri=tracking_uri)
        write_json(request.out / "promotion.json", promotion.model_dump(mode="json"))
        uri = f"models:/{name}@{CHAMPION}" if promotion.promoted else f"models:/{name}/{registered.version}"
        model = resolve_model(uri, tracking_uri=tracking_uri, cache=request.out / "models")
        return Chosen(promotion=promotion, model=model, existed=registered.existed)

    def tell(made: Chosen) -> str:
        verb = "is champion" if made.promotion.promoted else "is NOT promoted"
        return f"{name} version {made.promotion.version} {verb}: {made.promotion.reason}"

    return timed("promote", work, tell, lambda made: made.existed)
