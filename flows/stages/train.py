"""Train, and register what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from flows.services.launcher import launch_training
from flows.services.models import check_model_name, default_tracking_uri
from flows.services.training_protocol import TrainingOutcome, TrainingRequest
from p2p_core.config import Config
from p2p_core.pairstore.reader import PairStore

__all__ = ["TrainRequest", "Trained", "run_dir_of", "train_and_register"]

_DATASET = "{dataset}"


class TrainRequest(TrainingRequest):
    """Attributes:
        register_as: the registered model that gets a new version; None registers nothing.
        gpu_slot: the Prefect concurrency limit of which the flow `train` holds a slot; None holds none.

    In `run_dir`, `{dataset}` stands for the first digits of the dataset's digest: a schedule then trains anew when the
    dataset is new, and otherwise finds its run done.
    """

    register_as: str | None = None
    gpu_slot: str | None = "gpu"


class Trained(Config):
    """A finished training and, if it was asked for, its version in the registry."""

    outcome: TrainingOutcome
    name: str | None = None
    version: str | None = None


def train_and_register(
    request: TrainRequest, *, launch: Callable[[TrainingRequest], TrainingOutcome] = launch_training
) -> Trained:
    """Train in a process of its own, then register the bundle.

    Raises:
        UsageError: the registry cannot have a model of that name.
        P2PError: what `launch` and MLflow raise.
    """
    if request.register_as is not None:
        check_model_name(request.register_as)  # now, not after hours of training
    tracking_uri = request.tracking_uri or (default_tracking_uri() if request.register_as else None)
    values = {**dict(request), "tracking_uri": tracking_uri, "run_dir": run_dir_of(request)}
    register_as = values.pop("register_as")
    del values["gpu_slot"]
    outcome = launch(TrainingRequest(**values))
    if register_as is None or tracking_uri is None:
        return Trained(outcome=outcome)
    from flows.services.registry import register_bundle

    registered = register_bundle(outcome.bundle, register_as, tracking_uri=tracking_uri, run_id=outcome.run_id)
    return Trained(outcome=outcome, name=registered.name, version=registered.version)


def run_dir_of(request: TrainRequest) -> Path:
    """`request.run_dir` with the dataset's digest in it. Raises `StoreError` where that is needed and there is none."""
    if _DATASET not in str(request.run_dir):
        return request.run_dir
    digest = PairStore.open(request.data).manifest.digest
    return Path(str(request.run_dir).replace(_DATASET, digest[:12]))
