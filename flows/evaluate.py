"""Flow `evaluate`: a model's scores on a held-out split, beside the baselines it has to beat."""

from __future__ import annotations

from prefect import flow, task

from flows.services.artifacts import publish_scores
from flows.stages.evaluate import EvaluateRequest, evaluate_model, tell_scores
from flows.wiring import RETRIES, announce
from p2p_core.evaluation.evaluate import Evaluation


@task(name="evaluate", **RETRIES)
def evaluate_task(request: EvaluateRequest) -> Evaluation:
    return evaluate_model(request)


@flow(name="evaluate")
def evaluate(request: EvaluateRequest) -> Evaluation:
    """Score `request.model`; a registered version gets the scores that the promotion gate reads."""
    made = evaluate_task(request)
    announce(f"{request.model}: {tell_scores(made)}")
    publish_scores(made)
    return made
