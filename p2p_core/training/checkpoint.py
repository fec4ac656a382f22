"""Checkpoints that are whole or absent, carry their digests, and load without unpickling.

A checkpoint is a directory `checkpoints/<images_seen>/`: `state.safetensors` (weights, optimiser moments, averaged
weights where the run averages, torch's random state, what was not logged yet) and `checkpoint.json` (config, dataset digest,
sha256), written last. Which pairs come next, and the learning rate, follow from the count of images.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from p2p_core.config import Config
from p2p_core.errors import CheckpointError, DivergenceError, OutputError
from p2p_core.files import sha256_bytes, sha256_file, write_atomic, write_json
from p2p_core.training.config import RunConfig
from p2p_core.training.step import TrainingState

__all__ = [
    "checkpoint_to_resume",
    "latest_checkpoint",
    "load_checkpoint",
    "not_a_number",
    "require_same_run",
    "save_checkpoint",
]

_KEPT = 2
"""The newest, and one before it in case the newest is damaged; beside them the best."""

_CHANGES_NOTHING = {"alarms", "resident_gb"}
"""Settings that a run may be resumed with changed; the budget too, where the learning rates so far were the same with it."""

_STATE, _RECORD = "state.safetensors", "checkpoint.json"


class CheckpointRecord(Config):
    schema_version: int = 1
    images_seen: int
    logged_at: int | None = None
    sha256: str
    dataset_digest: str
    config: RunConfig


def save_checkpoint(
    state: TrainingState, config: RunConfig, dataset_digest: str, directory: Path, *, best_images_seen: int = 0
) -> Path:
    """Write `directory/<images_seen>/` and forget all but the newest ones and the best.

    Raises:
        DivergenceError: something of the state is not a number; nothing is written, and what is there stays.
        OutputError: the disk is full; the checkpoints that are there stay.
    """
    place = directory / f"{state.images_seen:010d}"
    tensors = _tensors(state, config)
    broken = next((name for name, value in tensors.items() if not bool(torch.isfinite(value).all())), None)
    if broken is not None:
        raise not_a_number(broken, state.images_seen, directory)
    data = save(tensors)
    record = CheckpointRecord(
        images_seen=state.images_seen, logged_at=state.logged_at, sha256=sha256_bytes(data), dataset_digest=dataset_digest,
        config=config,
    )  # fmt: skip
    try:
        write_atomic(place / _STATE, data)
        write_json(place / _RECORD, record.model_dump(mode="json"))
    except OutputError as error:
        last = latest_checkpoint(directory)
        intact = f"it goes on from {last}, which is intact" if last else "there is no checkpoint yet, so it begins anew"
        raise OutputError(error.problem, remedy=f"Free space there, then run it again with --resume: {intact}") from error
    _forget_old(directory, best_images_seen)
    return place


def _forget_old(directory: Path, best_images_seen: int) -> None:
    complete = _complete(directory)
    kept = [*complete[-_KEPT:], *(place for place in complete if int(place.name) == best_images_seen)]
    for place in filter(Path.is_dir, directory.glob("[0-9]*")):
        if place not in kept:  # among them what a killed run left half-written
            (place / _RECORD).unlink(missing_ok=True)  # first: what is removed in part is no checkpoint
            shutil.rmtree(place)
    for place in kept:
        for half in place.glob(".*.partial"):
            half.unlink()


def not_a_number(what: str, images_seen: int, directory: Path) -> DivergenceError:
    """What ends a run that is lost; `directory` is that of its checkpoints."""
    last = latest_checkpoint(directory)
    intact = f"The checkpoints in {directory} are intact, the last of {int(last.name)} images; l" if last else "L"
    return DivergenceError(
        f"Training diverged: {what} is not a number after {images_seen} images",
        remedy=f"{intact}ower optimiser.learning_rate and start again",
    )


def latest_checkpoint(directory: Path) -> Path | None:
    """The newest complete checkpoint; a half-written one has no `checkpoint.json` and does not count."""
    return max(_complete(directory), default=None)


def _complete(directory: Path) -> list[Path]:
    return sorted(path.parent for path in directory.glob(f"*/{_RECORD}") if path.parent.name.isdecimal())


def checkpoint_to_resume(directory: Path) -> Path | None:
    """The newest complete checkpoint; None where there is none yet.

    Raises:
        CheckpointError: what lies there was never a checkpoint of this program; beginning anew beside it is not what was asked.
    """
    newest = latest_checkpoint(directory)
    foreign = sorted(path.name for path in directory.glob("[!.]*") if not (path.is_dir() and path.name.isdecimal()))
    if newest is None and foreign:
        raise CheckpointError(
            f"{directory} holds no checkpoint of p2p, but {foreign[0]}",
            remedy="Train into a new run directory; `p2p import` makes a model of the reference code's latest_net_G.pth",
        )
    return newest


def load_checkpoint(place: Path, state: TrainingState, config: RunConfig, dataset_digest: str) -> None:
    """Bring `state` to where the checkpoint was taken.

    Raises:
        CheckpointError: it is damaged, or was taken with another configuration or dataset.
    """
    record = require_same_run(place, config, dataset_digest)
    try:
        data = (place / _STATE).read_bytes()
    except OSError as error:
        raise CheckpointError(f"Checkpoint {place / _STATE} cannot be read: {error}", remedy=_without(place)) from error
    if sha256_bytes(data) != record.sha256:
        raise CheckpointError(
            f"Checkpoint {place / _STATE} is damaged: its sha256 is not the recorded one", remedy=_without(place)
        )
    try:
        _restore(load(data), state, config)
    except (SafetensorError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"Checkpoint {place} does not fit this model: {error}", remedy=_without(place)) from error
    state.images_seen = record.images_seen
    state.logged_at = record.images_seen if record.logged_at is None else record.logged_at


def _read_record(place: Path) -> CheckpointRecord:
    path = place / _RECORD
    try:
        record = CheckpointRecord.parse(json.loads(path.read_bytes()), where=str(path), error=CheckpointError)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Checkpoint {path} cannot be read: {error}", remedy=_without(place)) from error
    except CheckpointError as error:
        raise CheckpointError(error.problem, remedy=_without(place)) from error
    if record.images_seen != int(place.name):
        raise CheckpointError(f"Checkpoint {place} is one of {record.images_seen} images", remedy=_without(place))
    return record


def _without(place: Path) -> str:
    """What to do where the checkpoint in `place` cannot be used: name the one before it that can."""
    for earlier in reversed(_complete(place.parent)):
        if earlier < place and _is_whole(earlier):
            return f"Delete {place} to resume from {earlier}, which is whole, or train into a new run directory"
    return "No other checkpoint is whole: train into a new run directory"


def _is_whole(place: Path) -> bool:
    try:
        return sha256_file(place / _STATE) == CheckpointRecord.model_validate_json((place / _RECORD).read_bytes()).sha256
    except (OSError, ValueError):
        return False


def require_same_run(place: Path, config: RunConfig, dataset_digest: str) -> CheckpointRecord:
    """The record of the checkpoint, if a run of this configuration and dataset can go on from there.

    Raises:
        CheckpointError: the record is damaged, or of another configuration or dataset.
    """
    record = _read_record(place)
    if record.dataset_digest != dataset_digest:
        began, now = record.dataset_digest[:16], dataset_digest[:16]
        raise CheckpointError(
            f"Checkpoint {place} saw dataset {began}, the store now holds {now}",
            remedy=f"Go on with the version the run began with, --data STORE@{began} if the store still has it, or train into "
            "a new run directory",
        )
    changed = _changed(record.config, config, record.images_seen)
    if changed:
        raise CheckpointError(
            f"Checkpoint {place} was taken with another configuration (different: {', '.join(changed)})",
            remedy="Resume with the same recipe and settings, or train into a new run directory",
        )
    return record


def _changed(before: RunConfig, now: RunConfig, images_seen: int) -> list[str]:
    """The settings with which the run would not have come to where it is."""
    was, is_now = before.model_dump(), now.model_dump()
    last = max(0, images_seen - now.batch_size)
    same_rate = before.optimiser.learning_rate_at(last / before.budget_images) == now.optimiser.learning_rate_at(
        last / now.budget_images
    )
    free = _CHANGES_NOTHING | ({"budget_images"} if same_rate and images_seen <= now.budget_images else set())
    return [key for key in is_now if is_now[key] != was[key] and key not in free]


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
    tensors |= {f"totals.{name}": total for name, total in state.totals.items()}
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
    device = next(state.generator.parameters()).device
    state.totals = {name: total.to(device) for name, total in _under(tensors, "totals").items()}
    torch.set_rng_state(tensors["random.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def _laid_out_like(parameter: Tensor, moment: Tensor) -> Tensor:
    """Fused Adam walks memory, not indices: moments must lie as their channels-last parameter does."""
    return torch.empty_like(parameter).copy_(moment) if moment.shape == parameter.shape else moment


def _under(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
