"""How this product reaches MLflow: an explicit address, never an ambient run, quiet, and quick to give up.

The address is a server (`http://...`) or a SQLite file (`sqlite:////abs/mlflow.db`); with a file, artifacts lie beside
it in `mlartifacts/`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2p_core.errors import ServiceError
from p2p_core.files import output_errors

# Read when mlflow is imported or when it calls a server. A server that is away must cost seconds, not the minutes of
# MLflow's own seven retries.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

__all__ = ["connect", "experiment_id", "mlflow_errors", "where_it_lies"]

_ARTIFACTS = "mlartifacts"
_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"


def connect(tracking_uri: str, *, create: bool = False) -> MlflowClient:
    """A client of this address.

    Args:
        create: make an embedded store that is not there yet; asking for something in it would only find it empty.

    Raises:
        ServiceError: the address cannot be reached or understood, or there is no store.
    """
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with mlflow_errors(tracking_uri):
        if tracking_uri.startswith(_SQLITE):
            _prepare(Path(tracking_uri.removeprefix(_SQLITE)), create)
        client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
        client.search_experiments(max_results=1)  # the first call is the one that connects
        return client


def _prepare(database: Path, create: bool) -> None:
    if create:
        with output_errors(database):
            database.parent.mkdir(parents=True, exist_ok=True)
            database.touch()  # MLflow would try a place it may not write to for minutes
    elif not database.exists():
        raise ServiceError(
            f"There is no MLflow store {database}", remedy="Give the address with --tracking-uri or MLFLOW_TRACKING_URI"
        )
    if database.is_dir() or not _begins_as_sqlite(database):
        raise ServiceError(f"{database} is no SQLite database", remedy="Give another address with --tracking-uri")


def _begins_as_sqlite(database: Path) -> bool:
    with database.open("rb") as file:
        return file.read(len(_SQLITE_HEADER)) in (b"", _SQLITE_HEADER)  # an empty file is an empty database


def experiment_id(client: MlflowClient, tracking_uri: str, name: str) -> str:
    """The experiment of this name, made if there is none."""
    with mlflow_errors(tracking_uri):
        found = client.get_experiment_by_name(name)
        if found is None:
            return str(client.create_experiment(name, artifact_location=_artifact_root(tracking_uri)))
        if found.lifecycle_stage == "deleted":
            raise ServiceError(
                f"The MLflow experiment {name!r} at {tracking_uri} is deleted",
                remedy=f"Restore it: MLFLOW_TRACKING_URI={tracking_uri} mlflow experiments restore -x {found.experiment_id}",
            )
        return str(found.experiment_id)


def _artifact_root(tracking_uri: str) -> str | None:
    """A server decides itself; with a file, MLflow would take the working directory of whoever comes first."""
    if not tracking_uri.startswith(_SQLITE):
        return None
    database = Path(tracking_uri.removeprefix(_SQLITE)).resolve()
    return (database.parent / _ARTIFACTS).as_uri()


def where_it_lies(artifact_uri: str, tracking_uri: str) -> str:
    """MLflow records absolute places. Those of an embedded store that has moved lie beside its database now."""
    _, found, place = artifact_uri.rpartition(f"/{_ARTIFACTS}/")
    if not (found and tracking_uri.startswith(_SQLITE) and artifact_uri.startswith("file:")):
        return artifact_uri
    return f"{_artifact_root(tracking_uri)}/{place}"


@contextmanager
def mlflow_errors(tracking_uri: str) -> Iterator[None]:
    """Turn what MLflow raises into `ServiceError` with a remedy."""
    try:
        yield
    except (MlflowException, OSError) as error:
        first_line = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise ServiceError(
            f"MLflow at {tracking_uri} refused or did not answer: {first_line[:300]}",
            remedy="Start the server or correct the address (--tracking-uri or MLFLOW_TRACKING_URI)",
        ) from error
