"""Checkpoints that are whole or absent, carry their digests, and load without unpickling.

A checkpoint is a directory `checkpoints/<images_seen>/`: `state.safetensors` (weights, optimiser moments, averaged
weights where the run averages, torch's random state) and `checkpoint.json` (config, dataset digest, sha256), written last.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from p2p_core.config import Config
from p2p_core.errors import CheckpointError, DivergenceError
from p2p_core.files import sha256_bytes, write_atomic, write_json
from p2p_core.training.config import RunConfig
from p2p_core.training.step import TrainingState

__all__ = ["latest_checkpoint", "load_checkpoint", "not_a_number", "save_checkpoint"]

_KEPT = 2
"""The newest, and one before it in case the newest is damaged; beside them the best."""

_CHANGES_NOTHING = {"alarms", "resident_gb"}
"""Settings that a run may be resumed with changed."""


class CheckpointRecord(Config):
    schema_version: int = 1
    images_seen: int
    sha256: str
    dataset_digest: str
    config: RunConfig


def save_checkpoint(
    state: TrainingState, config: RunConfig, dataset_digest: str, directory: Path, *, best_images_seen: int = 0
) -> Path:
    """Write `directory/<images_seen>/` and forget all but the newest ones and the best.

    Raises:
        DivergenceError: something of the state is not a number; nothing is written, and what is there stays.
        OutputError: the disk is full.
    """
    place = directory / f"{state.images_seen:010d}"
    tensors = _tensors(state, config)
    broken = next((name for name, value in tensors.items() if not bool(torch.isfinite(value).all())), None)
    if broken is not None:
        raise not_a_number(broken, state.images_seen, directory)
    data = save(tensors)
    write_atomic(place / "state.safetensors", data)
    record = CheckpointRecord(
        images_seen=state.images_seen, sha256=sha256_bytes(data), dataset_digest=dataset_digest, config=config
    )
    write_json(place / "checkpoint.json", record.model_dump(mode="json"))
    for old in sorted(directory.glob("[0-9]*"))[:-_KEPT]:
        if int(old.name) != best_images_seen:
            shutil.rmtree(old)
    return place


def not_a_number(what: str, images_seen: int, directory: Path) -> DivergenceError:
    """What ends a run that is lost; `directory` is that of its checkpoints."""
    intact = f"The checkpoints in {directory} are intact; l" if latest_checkpoint(directory) else "L"
    return DivergenceError(
        f"Training diverged: {what} is not a number after {images_seen} images",
        remedy=f"{intact}ower optimiser.learning_rate and start again",
    )


def latest_checkpoint(directory: Path) -> Path | None:
    """The newest complete checkpoint; a half-written one has no `checkpoint.json` and does not count."""
    complete = [place.parent for place in directory.glob("*/checkpoint.json")]
    return max(complete, default=None)


def load_checkpoint(place: Path, state: TrainingState, config: RunConfig, dataset_digest: str) -> None:
    """Bring `state` to where the checkpoint was taken.

    Raises:
        CheckpointError: it is damaged, or was taken with another configuration or dataset.
    """
    try:
        record = CheckpointRecord.model_validate(json.loads((place / "checkpoint.json").read_bytes()))
        data = (place / "state.safetensors").read_bytes()
    except (OSError, ValueError, ValidationError) as error:
        raise CheckpointError(f"Checkpoint {place} cannot be read: {error}", remedy=_START_AGAIN) from error
    if sha256_bytes(data) != record.sha256:
        raise CheckpointError(
            f"Checkpoint {place}/state.safetensors is damaged: its sha256 is not the recorded one", remedy=_START_AGAIN
        )
    _require_same(record, config, dataset_digest, place)
    try:
        _restore(load(data), state, config)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"Checkpoint {place} does not fit this model: {error}", remedy=_START_AGAIN) from error
    state.images_seen = record.images_seen


_START_AGAIN = "Delete that directory to resume from the checkpoint before it, or train into a new run directory"


def _require_same(record: CheckpointRecord, config: RunConfig, dataset_digest: str, place: Path) -> None:
    if record.dataset_digest != dataset_digest:
        raise CheckpointError(
            f"Checkpoint {place} saw dataset {record.dataset_digest[:16]}, the store now holds {dataset_digest[:16]}",
            remedy="Train into a new run directory, or give the store's version the run began with",
        )
    before, now = record.config.model_dump(), config.model_dump()
    changed = [key for key in now if now[key] != before[key] and key not in _CHANGES_NOTHING]
    if changed:
        raise CheckpointError(
            f"Checkpoint {place} was taken with another configuration (different: {', '.join(changed)})",
            remedy="Resume with the same recipe and settings, or train into a new run directory",
        )


def _modules(state: TrainingState, config: RunConfig) -> dict[str, torch.nn.Module]:
    """The networks a run cannot do without: one that averages no weights never looks at the averaged ones."""
    modules: dict[str, torch.nn.Module] = {"generator": state.generator}
    if state.adversary is not None:
        modules["discriminator"] = state.adversary.discriminator
    return modules | {"averaged": state.averaged} if config.ema_images else modules


def _optimisers(state: TrainingState) -> dict[str, torch.optim.Adam]:
    optimisers = {"generator_optimiser": state.generator_optimiser}
    return optimisers | {"discriminator_optimiser": state.adversary.optimiser} if state.adversary is not None else optimisers


def _tensors(state: TrainingState, config: RunConfig) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {"random.cpu": torch.get_rng_state()}
    device = next(state.generator.parameters()).device
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    for name, module in _modules(state, config).items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for name, optimiser in _optimisers(state).items():
        for index, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{key}": value for key, value in moments.items()}
    return {key: value.detach().cpu().contiguous() for key, value in tensors.items()}


def _restore(tensors: dict[str, Tensor], state: TrainingState, config: RunConfig) -> None:
    for name, module in _modules(state, config).items():
        module.load_state_dict(_under(tensors, name))
    for name, optimiser in _optimisers(state).items():
        parameters = optimiser.param_groups[0]["params"]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in _under(tensors, name).items():
            index, _, moment = key.partition(".")
            moments.setdefault(int(index), {})[moment] = _laid_out_like(parameters[int(index)], value)
        optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    torch.set_rng_state(tensors["random.cpu"])
    device = next(state.generator.parameters()).device
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def _laid_out_like(parameter: Tensor, moment: Tensor) -> Tensor:
    """Fused Adam walks memory, not indices: moments must lie as their channels-last parameter does."""
    return torch.empty_like(parameter).copy_(moment) if moment.shape == parameter.shape else moment


def _under(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
