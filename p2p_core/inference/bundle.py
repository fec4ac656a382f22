"""The model bundle: weights plus everything needed to run them. Loads with no flags and without unpickling.

BUNDLE/model.json              the spec: architecture, encodings, norm, lattice, halo, dataset digest, metrics
BUNDLE/weights.safetensors     the generator
BUNDLE/gate_pairs.safetensors  a few inputs, targets and this model's own outputs, for gates and other engines
BUNDLE/card.md                 for people
BUNDLE/checksums.json          sha256 of each of the above, written last: its presence means complete
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from p2p_core.config import Config
from p2p_core.encodings import Encoding, encoding, pixel_dtype
from p2p_core.errors import BundleError
from p2p_core.files import Problem, canonical_json, sha256_bytes, sha256_file, write_atomic, write_json
from p2p_core.inference.forward import forward_pixels
from p2p_core.model.generator import Generator, GeneratorConfig, make_generator
from p2p_core.model.norm import NormMode, set_norm_mode

__all__ = ["BundleSpec", "GatePairs", "ModelBundle", "load_bundle", "save_bundle", "verify_bundle"]

SCHEMA_VERSION = 2
_READABLE = (1, 2)
"""Version 1 knew U-Nets alone, so its architectures name no kind."""
_FILES = ("model.json", "weights.safetensors", "gate_pairs.safetensors", "card.md")
_RETRAIN = "Copy the bundle again from where it was made, or train it again"


class BundleSpec(Config):
    """model.json: what a program needs to know to run the weights, and a person to judge them.

    Attributes:
        dtype: of input and output pixels, or `mixed`; it follows from the encodings.
        lattice_px, halo_px: window origins and sides are multiples of the lattice; a core needs the halo around it. They
            follow from the architecture; a bundle that states others is refused, as it would not be tiled exactly.
        norm: the statistics used unless asked otherwise.
        metrics: validation scores, named `<norm>_<metric>`, for example `frozen_l1` in grey levels.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    architecture: GeneratorConfig
    input_encoding: str
    target_encoding: str
    dtype: str = Field(default_factory=lambda spec: pixel_dtype(spec["input_encoding"], spec["target_encoding"]))
    tile_px: int
    norm: NormMode = "frozen"
    lattice_px: int = Field(default_factory=lambda spec: spec["architecture"].lattice_px)
    halo_px: int = Field(default_factory=lambda spec: spec["architecture"].halo_px)
    recipe: str
    images_seen: int
    dataset_digest: str
    metrics: dict[str, float]

    @model_validator(mode="after")
    def _is_tiled_exactly(self) -> Self:
        stated, needed = (self.lattice_px, self.halo_px), (self.architecture.lattice_px, self.architecture.halo_px)
        if stated != needed:
            raise ValueError(
                f"lattice_px and halo_px are {stated[0]} and {stated[1]}, but tiles of a {self.architecture.description} are "
                f"exact with {needed[0]} and {needed[1]}"
            )
        return self


@dataclass(frozen=True)
class GatePairs:
    """A few validation images, (N, H, W, C) of their dtypes: a converted engine must reproduce `generated` from `input`."""

    input_NHWC: NDArray[Any]
    target_NHWC: NDArray[Any]
    generated_NHWC: NDArray[Any]


@dataclass(frozen=True)
class ModelBundle:
    """A loaded, checked bundle. `digest` names its exact content."""

    path: Path
    spec: BundleSpec
    generator: Generator
    gate_pairs: GatePairs
    digest: str

    @property
    def input_encoding(self) -> Encoding:
        return encoding(self.spec.input_encoding)

    @property
    def target_encoding(self) -> Encoding:
        return encoding(self.spec.target_encoding)


def save_bundle(path: Path, spec: BundleSpec, generator: Generator, input_NHWC: NDArray[Any], target_NHWC: NDArray[Any]) -> str:
    """Write a bundle and return its digest. The pairs become its gate pairs.

    Raises:
        OutputError: `path` cannot be written.
    """
    generator.eval()
    set_norm_mode(generator, spec.norm)
    generated = forward_pixels(generator, input_NHWC, encoding(spec.input_encoding), encoding(spec.target_encoding))
    weights = {key: value.detach().cpu().contiguous() for key, value in generator.state_dict().items()}
    gate_pairs = {"input": input_NHWC, "target": target_NHWC, "generated": generated}
    content = {
        "model.json": canonical_json(spec.model_dump(mode="json")),
        "weights.safetensors": save_tensors(weights),
        "gate_pairs.safetensors": save_arrays({key: np.ascontiguousarray(value) for key, value in gate_pairs.items()}),
        "card.md": _card(spec).encode(),
    }
    for name, data in content.items():
        write_atomic(path / name, data)
    write_json(path / "checksums.json", {name: sha256_bytes(data) for name, data in content.items()})
    return sha256_file(path / "checksums.json")


def load_bundle(path: Path, device: str = "cpu") -> ModelBundle:
    """Check every file against its sha256 and rebuild the generator, in `eval()` with the spec's norm.

    Raises:
        BundleError: incomplete, damaged, or of a schema this version does not know. Names the file.
    """
    problems = verify_bundle(path)
    if problems:
        first = problems[0]
        raise BundleError(f"{path / first.path} {first.what}", remedy=_RETRAIN)
    spec = _read_spec(path)
    generator = make_generator(spec.architecture)
    try:
        generator.load_state_dict(load_tensors((path / "weights.safetensors").read_bytes()))
        arrays = load_arrays((path / "gate_pairs.safetensors").read_bytes())
        gate_pairs = GatePairs(arrays["input"], arrays["target"], arrays["generated"])
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise BundleError(f"The weights in {path} do not fit its model.json: {error}", remedy=_RETRAIN) from error
    generator.to(torch.device(device)).eval().requires_grad_(False)
    set_norm_mode(generator, spec.norm)
    return ModelBundle(path, spec, generator, gate_pairs, sha256_file(path / "checksums.json"))


def verify_bundle(path: Path) -> list[Problem]:
    """Every file that is missing or is not what it was when the bundle was saved."""
    try:
        checksums = json.loads((path / "checksums.json").read_bytes())
    except FileNotFoundError:
        return [Problem("checksums.json", "is missing: this is no model bundle, or one that was never finished")]
    except (ValueError, OSError) as error:
        return [Problem("checksums.json", f"cannot be read: {error}")]
    if not isinstance(checksums, dict) or set(checksums) != set(_FILES):
        return [Problem("checksums.json", f"does not list exactly {', '.join(_FILES)}")]
    problems = []
    for name in _FILES:
        if not (path / name).is_file():
            problems.append(Problem(name, "is missing"))
        elif sha256_file(path / name) != checksums[name]:
            problems.append(Problem(name, "is damaged: its sha256 is not the recorded one"))
    return problems


def _read_spec(path: Path) -> BundleSpec:
    values = json.loads((path / "model.json").read_bytes())
    if values.get("schema_version") not in _READABLE:
        raise BundleError(
            f"{path}/model.json has schema version {values.get('schema_version')}, this program knows 1 to {SCHEMA_VERSION}",
            remedy="Use the version of p2p-pipeline that made it, or a newer one",
        )
    try:
        return BundleSpec.model_validate({**values, "schema_version": SCHEMA_VERSION})
    except ValidationError as error:
        raise BundleError(f"{path}/model.json is not valid: {error}", remedy=_RETRAIN) from error


def _card(spec: BundleSpec) -> str:
    metrics = "\n".join(f"| {name} | {value:.4g} |" for name, value in sorted(spec.metrics.items()))
    images_seen = spec.images_seen or "an unknown number of"
    return f"""# {spec.name}

A pix2pix generator (Isola et al., 2017): {spec.input_encoding} -> {spec.target_encoding}. Its output is synthetic imagery.

- {spec.architecture.description}; trained on {spec.tile_px} px crops
- recipe `{spec.recipe}`, {images_seen} images seen, dataset `{spec.dataset_digest[:16]}`
- runs with `{spec.norm}` norm; lattice {spec.lattice_px} px, halo {spec.halo_px} px

| validation metric | value |
|---|---|
{metrics}
"""
