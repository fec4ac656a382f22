"""Model bundles in the MLflow registry: registered whole, and resolved to an exact version and digest.

A version holds the bundle unchanged as an artifact, and the bundle's digest as a tag, so that whoever downloads it can
prove that it is the one that was evaluated. An alias is resolved once, at the start of a job, and never again.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.types import Schema, TensorSpec

import p2p_core.inference.bundle
from flows.services.mlflow_client import connect, experiment_id, mlflow_errors, where_it_lies
from flows.services.models import ModelUri, ResolvedModel
from p2p_core.config import Config
from p2p_core.encodings import encoding
from p2p_core.errors import BundleError
from p2p_core.files import output_errors
from p2p_core.inference.bundle import BundleSpec, load_bundle, verify_bundle

__all__ = ["DIGEST_TAG", "Registration", "fetch_model", "find_version", "register_bundle"]

DIGEST_TAG = "p2p.bundle_digest"
_BUNDLE = "bundle"
# What the bundle's own code needs; their exact versions go into the model's requirements.txt.
_REQUIREMENTS = ("torch", "numpy", "safetensors", "pydantic", "pyyaml")


def fetch_model(uri: ModelUri, *, tracking_uri: str, cache: Path) -> ResolvedModel:
    """The checked bundle of a version, downloaded once into `cache/<digest>`.

    Raises:
        BundleError: there is no such version, or its bundle is damaged.
        ServiceError: MLflow does not answer.
    """
    version = find_version(connect(tracking_uri), tracking_uri, uri)
    digest = version.tags.get(DIGEST_TAG)
    if digest is None:
        raise BundleError(
            f"{uri} holds no bundle: version {version.version} was not registered by p2p",
            remedy="Register one with `p2p train --register NAME`",
        )
    bundle = _download(version.source, digest, cache, tracking_uri)
    return ResolvedModel(bundle=bundle, digest=digest, name=uri.name, version=str(version.version), alias=uri.alias)


def find_version(client: MlflowClient, tracking_uri: str, uri: ModelUri) -> Any:
    """MLflow's record of the version. Raises `BundleError` where there is none; names those there are."""
    with mlflow_errors(tracking_uri):
        try:
            if uri.alias is not None:
                return client.get_model_version_by_alias(uri.name, uri.alias)
            return client.get_model_version(uri.name, uri.version)
        except MlflowException as error:
            if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise
            known = _known_versions(client, uri.name)
            raise BundleError(f"MLflow at {tracking_uri} has no {uri}; {known}", remedy=_HOW_TO_GET_ONE) from error


_HOW_TO_GET_ONE = (
    "Register one with `p2p train --register NAME`, set champion with `p2p promote NAME VERSION`, or correct --tracking-uri"
)


def _known_versions(client: MlflowClient, name: str) -> str:
    versions = sorted(int(version.version) for version in client.search_model_versions(f"name = '{name}'"))
    return f"{name} has versions {', '.join(map(str, versions))}" if versions else f"there is no model named {name}"


def _download(source: str, digest: str, cache: Path, tracking_uri: str) -> Path:
    bundle = cache / digest
    if bundle.exists() and not verify_bundle(bundle):
        return bundle
    with output_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as directory:
            with mlflow_errors(tracking_uri):
                uri = f"{where_it_lies(source, tracking_uri)}/artifacts/{_BUNDLE}"
                fetched = Path(download_artifacts(artifact_uri=uri, dst_path=directory, tracking_uri=tracking_uri))
            found = load_bundle(fetched).digest
            if found != digest:
                raise BundleError(
                    f"The bundle at {source} is not the one that was registered: its digest is {found[:16]}, not {digest[:16]}",
                    remedy="Register the bundle again; somebody has changed the artifact store",
                )
            shutil.rmtree(bundle, ignore_errors=True)
            fetched.rename(bundle)
    return bundle


class Registration(Config):
    """`existed`: the same bundle had been registered before, and this is the version it has."""

    name: str
    version: str
    existed: bool


def register_bundle(bundle_dir: Path, name: str, *, tracking_uri: str, run_id: str | None = None) -> Registration:
    """A new version of the registered model `name`; the same bundle registered again gives the version it already has.

    Args:
        run_id: the training's run, whose artifacts the model joins; without one a run is made for it.

    Raises:
        BundleError: the bundle is incomplete or damaged.
        ServiceError: MLflow does not answer.
    """
    bundle = load_bundle(bundle_dir)
    client = connect(tracking_uri, create=True)
    with mlflow_errors(tracking_uri):
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description="A pix2pix bundle; see its card.md. Made by p2p.")
        for version in client.search_model_versions(f"name = '{name}'"):
            if version.tags.get(DIGEST_TAG) == bundle.digest:
                return Registration(name=name, version=str(version.version), existed=True)
        source, run_id = _store(client, bundle_dir, bundle.spec, bundle.digest, name, tracking_uri, run_id)
        tags = {DIGEST_TAG: bundle.digest, "p2p.dataset_digest": bundle.spec.dataset_digest}
        version = client.create_model_version(name, source, run_id=run_id, tags=tags).version
        return Registration(name=name, version=str(version), existed=False)


def _store(
    client: MlflowClient, bundle_dir: Path, spec: BundleSpec, digest: str, name: str, tracking_uri: str, run_id: str | None
) -> tuple[str, str]:
    """Put the bundle, wrapped as a pyfunc model, among a run's artifacts; returns where, and the run."""
    if run_id is None:
        run = client.create_run(experiment_id(client, tracking_uri, name), run_name=f"register {bundle_dir.name}")
        client.set_terminated(run.info.run_id)
    else:
        run = client.get_run(run_id)
    folder = f"model-{digest[:12]}"
    with tempfile.TemporaryDirectory() as directory:
        _save_pyfunc(Path(directory) / folder, bundle_dir, spec)
        client.log_artifacts(run.info.run_id, directory)
    return f"{run.info.artifact_uri}/{folder}", str(run.info.run_id)


def _save_pyfunc(path: Path, bundle_dir: Path, spec: BundleSpec) -> None:
    def pixels(bands: tuple[int, ...], dtype: np.dtype[Any]) -> Schema:
        # MLflow has no word for `1 or 3`; the translator checks them.
        return Schema([TensorSpec(dtype, (-1, -1, -1, bands[0] if len(bands) == 1 else -1))])

    source, target = encoding(spec.input_encoding), encoding(spec.target_encoding)
    smallest_px = spec.architecture.smallest_px
    with tempfile.TemporaryDirectory() as directory:
        # MLflow keeps the name of the directory it is given.
        bundle = Path(directory) / _BUNDLE
        shutil.copytree(bundle_dir, bundle)
        save_model(
            path=str(path),
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={_BUNDLE: str(bundle)},
            signature=ModelSignature(inputs=pixels(source.takes, source.dtype), outputs=pixels((target.bands,), target.dtype)),
            input_example=np.zeros((1, smallest_px, smallest_px, source.bands), source.dtype),
            pip_requirements=[_pinned(package) for package in _REQUIREMENTS],
            code_paths=[str(Path(p2p_core.inference.bundle.__file__).parents[1])],
        )


def _pinned(package: str) -> str:
    # A local version such as 2.13.0+cpu names a build that no index offers.
    return f"{package}=={importlib.metadata.version(package).partition('+')[0]}"
