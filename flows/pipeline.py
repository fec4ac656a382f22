"""The whole path in one screen: images -> pairs -> model -> gate -> a painted region -> one page.

A task is one step of `flows.steps`; each step reuses what an earlier run made of the same content.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TypeVar

from prefect import flow, task

from flows.services.artifacts import publish_table
from flows.services.dataset_artifacts import publish_dataset
from flows.services.models import ResolvedModel
from flows.services.training_protocol import TrainingOutcome
from flows.steps.book import Done, Step, sole_use
from flows.steps.data import PhotoBuilderName, Sources, build_pairs, build_photo_pairs, prepare_sources
from flows.steps.model import Chosen, evaluate_bundle, promote_version, train_model
from flows.steps.region import Exported, Part, export_part, translate_part
from flows.steps.request import PipelineRequest
from flows.steps.summary import PipelineSummary, hardware, versions, ways_to_look, write_summary
from flows.wiring import RETRIES, announce
from p2p_core.archive.translate import ArchiveSummary
from p2p_core.config import Config
from p2p_core.evaluation.evaluate import Evaluation
from p2p_core.progress import format_duration
from p2p_core.report.page import write_report
from preprocessing.build import BuildSummary

R = TypeVar("R", bound=Config)


@flow(name="pipeline")
def pipeline(request: PipelineRequest) -> PipelineSummary:
    """Two images of the same ground become pairs, a model, a translated region and `OUT/report.html`."""
    started_s = time.monotonic()
    steps: list[Step] = []

    def done(made: Done[R]) -> R:
        steps.append(made.step)
        announce(_line(made.step))
        return made.result

    with sole_use(request.out):
        sources = done(sources_task(request))
        pairs = done(build_task(request, sources))
        photo_builders: tuple[PhotoBuilderName, ...] = ("edges", "colour") if request.photos else ()
        of_photos = {builder: done(photos_task(request, builder)) for builder in photo_builders}
        publish_dataset(request.out / "pairs", pairs)
        for builder, dataset in of_photos.items():
            publish_dataset(request.out / builder, dataset)
        trained = done(train_task(request, pairs))
        evaluation = done(evaluate_task(request, pairs, trained))
        chosen = done(promote_task(request, trained, evaluation))
        scene = done(translate_task(request, "scene", sources.scene_digest, chosen.model))
        done(export_task(request, "scene", scene))
        tiles = done(translate_task(request, "xyz", sources.xyz_digest, chosen.model))
        done(export_task(request, "xyz", tiles))
        digests = {
            "map": sources.map_digest,
            "aerial": sources.aerial_digest,
            "dataset": pairs.digest,
            **{f"{builder} dataset": dataset.digest for builder, dataset in of_photos.items()},
            "model bundle": chosen.model.digest,
            "scene": scene.output_digest,
            "xyz": tiles.output_digest,
        }
        summary = PipelineSummary(
            steps=tuple(steps),
            total_s=round(time.monotonic() - started_s, 1),
            promoted=chosen.promotion.promoted,
            model=chosen.model.uri,
            hardware=hardware(),
            versions=versions(),
            digests=digests,
            budget=trained.budget,
            ways_to_look=ways_to_look(request),
        )
        report_task(request, summary)
        publish_table("pipeline-steps", [step.model_dump() for step in steps], "Steps of the pipeline")
        return summary


@task(name="sources", **RETRIES)
def sources_task(request: PipelineRequest) -> Done[Sources]:
    return prepare_sources(request)


@task(name="build", **RETRIES)
def build_task(request: PipelineRequest, sources: Sources) -> Done[BuildSummary]:
    return build_pairs(request, sources)


@task(name="photos", task_run_name="build-{builder}", **RETRIES)
def photos_task(request: PipelineRequest, builder: PhotoBuilderName) -> Done[BuildSummary]:
    return build_photo_pairs(request, builder)


@task(name="train", **RETRIES)
def train_task(request: PipelineRequest, pairs: BuildSummary) -> Done[TrainingOutcome]:
    return train_model(request, pairs)


@task(name="evaluate", **RETRIES)
def evaluate_task(request: PipelineRequest, pairs: BuildSummary, trained: TrainingOutcome) -> Done[Evaluation]:
    return evaluate_bundle(request, pairs, trained)


@task(name="promote", **RETRIES)
def promote_task(request: PipelineRequest, trained: TrainingOutcome, evaluation: Evaluation) -> Done[Chosen]:
    return promote_version(request, trained, evaluation)


@task(name="translate", task_run_name="translate-{part}", **RETRIES)
def translate_task(request: PipelineRequest, part: Part, source_digest: str, model: ResolvedModel) -> Done[ArchiveSummary]:
    return translate_part(request, part, source_digest, model)


@task(name="export", task_run_name="export-{part}", **RETRIES)
def export_task(request: PipelineRequest, part: Part, translated: ArchiveSummary) -> Done[Exported]:
    return export_part(request, part, translated)


@task(name="report", **RETRIES)
def report_task(request: PipelineRequest, summary: PipelineSummary) -> Path:
    write_summary(request, summary)
    return write_report(request.out)


def _line(step: Step) -> str:
    took = "reused, unchanged" if step.reused else format_duration(step.elapsed_s)
    return f"{step.name}: {step.detail} [{took}]"
