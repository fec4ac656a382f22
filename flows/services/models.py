"""Which bundle a MODEL means: a directory, or `models:/NAME@ALIAS` or `models:/NAME/VERSION` in the MLflow registry.

MLflow is imported only for the second kind: it takes seconds, and a bundle on disk does not need it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from p2p_core.config import Config
from p2p_core.errors import UsageError
from p2p_core.inference.bundle import load_bundle

__all__ = [
    "ModelUri",
    "ResolvedModel",
    "check_model_name",
    "default_tracking_uri",
    "local_tracking_uri",
    "model_cache",
    "parse_model_uri",
    "resolve_model",
]


class ResolvedModel(Config):
    """A model as a job pins it.

    Attributes:
        bundle: directory of the bundle.
        digest: sha256 that names its content.
        name, version: the registry's; None for a bundle that was given as a directory.
        alias: what was asked for, if it was an alias.
    """

    bundle: Path
    digest: str
    name: str | None = None
    version: str | None = None
    alias: str | None = None

    @property
    def uri(self) -> str:
        """The exact version, never the alias."""
        return f"models:/{self.name}/{self.version}" if self.name else str(self.bundle)


class ModelUri(NamedTuple):
    """`models:/NAME@ALIAS` or `models:/NAME/VERSION`: exactly one of the last two is there."""

    name: str
    alias: str | None = None
    version: str | None = None

    def __str__(self) -> str:
        return f"models:/{self.name}@{self.alias}" if self.alias else f"models:/{self.name}/{self.version}"


_NAME = re.compile(r"[^/:@'\"]*[^/:@'\"\s][^/:@'\"]*")
_URI = re.compile(r"models:/(?P<name>[^/@'\"]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def parse_model_uri(model: str) -> ModelUri | None:
    """None for what is no URI but a path. Raises `UsageError` for a URI that is not one of a registered model."""
    if not model.startswith("models:"):
        return None
    parts = _URI.fullmatch(model)
    if parts is None:
        raise UsageError(f"{model!r} is no model URI", remedy="Write models:/NAME@champion or models:/NAME/3, or give a bundle")
    return ModelUri(**parts.groupdict())


def check_model_name(name: str) -> str:
    """The name, if MLflow takes it and a URI can hold it. Raises `UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be the name of a registered model",
            remedy="Use letters, digits, '-', '_' and '.', for example map2aerial",
        )
    return name


def resolve_model(model: str, *, tracking_uri: str | None = None, cache: Path | None = None) -> ResolvedModel:
    """The checked bundle of `model` on this machine.

    Args:
        tracking_uri: MLflow's address; see `default_tracking_uri`.
        cache: where bundles from a registry are kept; see `model_cache`.

    Raises:
        UsageError: `model` is a malformed URI.
        BundleError: there is no such model, or its bundle is damaged.
        ServiceError: MLflow does not answer.
    """
    uri = parse_model_uri(model)
    if uri is None:
        bundle = load_bundle(Path(model))
        return ResolvedModel(bundle=bundle.path, digest=bundle.digest)
    from flows.services.registry import fetch_model

    return fetch_model(uri, tracking_uri=tracking_uri or default_tracking_uri(), cache=cache or model_cache())


def local_tracking_uri(directory: Path) -> str:
    """The embedded store of this directory: `mlflow.db`."""
    return f"sqlite:///{directory.resolve() / 'mlflow.db'}"


def default_tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or else the embedded store of the working directory, as MLflow itself has it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_tracking_uri(Path.cwd())


def model_cache() -> Path:
    """`$XDG_CACHE_HOME/p2p/models`, by default under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "p2p" / "models"
