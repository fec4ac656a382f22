"""A pair store as MLflow's dataset entity, as a run's page shows it."""

from __future__ import annotations

import json

from mlflow.data.schema import TensorDatasetSchema
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types.schema import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from p2p_core.encodings import encoding
from p2p_core.pairstore.layout import ROLES
from p2p_core.pairstore.manifest import version_name
from p2p_core.pairstore.reader import PairStore

__all__ = ["training_dataset"]

# MLflow's limits. It takes no digest of 64 characters; a version's name is the beginning of it, and the profile has it whole.
_MAX_NAME_CHARACTERS = 500


def training_dataset(store: PairStore) -> DatasetInput:
    """`store` as the input of a run that trains on it. Its source is the version's directory, which never changes."""
    manifest = store.manifest
    input_schema, target_schema = (
        Schema([TensorSpec(own.dtype, (-1, manifest.height_px, manifest.width_px, own.bands), role)])
        for role, own in zip(ROLES, map(encoding, (manifest.input_encoding, manifest.target_encoding)), strict=True)
    )
    profile = {
        **{f"num_{split}": count for split, count in manifest.counts.items()},  # first: MLflow's page cuts after 80 characters
        "input_encoding": manifest.input_encoding,
        "target_encoding": manifest.target_encoding,
        "height_px": manifest.height_px,
        "width_px": manifest.width_px,
        "size_bytes": sum(entry.size_bytes for entry in manifest.files.values()),
        "builder": manifest.builder,
        "digest": manifest.digest,
    }
    dataset = Dataset(
        name=store.path.name[:_MAX_NAME_CHARACTERS],
        digest=version_name(manifest.digest),
        source_type="local",
        source=json.dumps({"uri": str(store.version_path.resolve())}),
        schema=json.dumps(TensorDatasetSchema(input_schema, target_schema).to_dict()),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])
