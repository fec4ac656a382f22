"""The gate before the alias `champion`: a version may carry it only if it beats the per-pixel affine colour fit.

An evaluation is recorded on the version it was made of, so the gate judges what was measured and not what is claimed.
"""

from __future__ import annotations

from flows.services.mlflow_client import connect, mlflow_errors
from flows.services.models import ModelUri, check_model_name
from flows.services.registry import find_version
from p2p_core.config import Config
from p2p_core.errors import BundleError
from p2p_core.evaluation.evaluate import Evaluation

__all__ = ["CHAMPION", "Promotion", "promote", "record_evaluation"]

CHAMPION = "champion"
_BASELINE = "affine"
_SPLIT_TAG = "p2p.evaluation.split"
_MODEL_TAG = "p2p.evaluation.model_l1"
_BASELINE_TAG = "p2p.evaluation.affine_l1"


class Promotion(Config):
    """promotion.json: what the gate decided, and why. L1 is in grey levels of 255."""

    promoted: bool
    reason: str
    name: str
    version: str
    alias: str = CHAMPION
    model_l1: float
    affine_l1: float


def record_evaluation(name: str, version: str, evaluation: Evaluation, *, tracking_uri: str) -> None:
    """Put the scores the gate reads on a version. Raises `ServiceError` when MLflow does not answer."""
    tags = {
        _SPLIT_TAG: evaluation.split,
        _MODEL_TAG: f"{evaluation.scores['model'].l1:.6f}",
        _BASELINE_TAG: f"{evaluation.scores[_BASELINE].l1:.6f}",
    }
    client = connect(tracking_uri)
    with mlflow_errors(tracking_uri):
        for key, value in tags.items():
            client.set_model_version_tag(name, version, key, value)


def promote(name: str, version: str, *, tracking_uri: str) -> Promotion:
    """Set `champion` on this version if its recorded evaluation passes the gate; otherwise leave the alias where it is.

    Raises:
        UsageError: no model can have this name.
        BundleError: there is no such version, or it was never evaluated on the test split.
        ServiceError: MLflow does not answer.
    """
    check_model_name(name)
    client = connect(tracking_uri)
    found = find_version(client, tracking_uri, ModelUri(name, version=version))
    if found.tags.get(_SPLIT_TAG) != "test":
        raise BundleError(
            f"Version {version} of {name} has no evaluation on a test split",
            remedy=f"Run `p2p evaluate models:/{name}/{version} --data STORE --split test` first",
        )
    promotion = _judge(name, version, float(found.tags[_MODEL_TAG]), float(found.tags[_BASELINE_TAG]))
    if promotion.promoted:
        with mlflow_errors(tracking_uri):
            client.set_registered_model_alias(name, CHAMPION, version)
    return promotion


def _judge(name: str, version: str, model_l1: float, affine_l1: float) -> Promotion:
    promoted = model_l1 < affine_l1
    verb = "beats" if promoted else "does not beat"
    reason = f"test L1 {model_l1:.2f} {verb} the affine colour fit's {affine_l1:.2f}"
    return Promotion(promoted=promoted, reason=reason, name=name, version=version, model_l1=model_l1, affine_l1=affine_l1)
