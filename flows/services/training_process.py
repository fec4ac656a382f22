"""The training process: `python -m flows.services.training_process REQUEST.json`. Started by `flows.services.launcher`.

A process of its own, so that its memory is freed when it ends and its crash is only a failed task. Messages go to what
was standard output; whatever a library prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from flows.services.leash import wear_leash
from flows.services.sole_training import sole_training
from flows.services.training_protocol import (
    Advanced,
    Budget,
    Failed,
    Finished,
    Message,
    Pictured,
    Planned,
    TrainingOutcome,
    TrainingRequest,
)
from p2p_core.config import replace, with_settings
from p2p_core.errors import CheckpointError, P2PError, ProcessLostError, UsageError
from p2p_core.files import write_json

if TYPE_CHECKING:  # mlflow and torch take seconds to import; a request that is wrong is refused before
    from flows.services.mlflow_tracking import MlflowTracker, RunStatus
    from p2p_core.model.processes import Processes
    from p2p_core.training.config import RunConfig

_BUDGET = "budget.json"


class _Messages:
    """Also the run's `Progress`, and the `Tracker` that says where its sheets are."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def send(self, message: Message) -> None:
        self._stream.write(message.model_dump_json().encode() + b"\n")
        self._stream.flush()

    def update(self, done: int, note: str = "") -> None:
        self.send(Advanced(images_seen=done, note=note))

    def log_parameters(self, parameters: Mapping[str, str | float | int | bool]) -> None: ...

    def log_metrics(self, metrics: Mapping[str, float], images_seen: int) -> None: ...

    def log_picture(self, name: str, path: Path) -> None:  # noqa: ARG002
        self.send(Pictured(path=path))

    def close(self) -> None: ...


def _main() -> int:
    wear_leash()
    signal.signal(signal.SIGTERM, _end)
    messages = _Messages(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    path = Path(sys.argv[1])
    try:
        request = TrainingRequest.parse(json.loads(path.read_bytes()), where=str(path))
        outcome = _take_part(request, messages)
        if outcome is not None:
            messages.send(Finished(outcome=outcome))
    except ProcessLostError as error:
        print(error, file=sys.stderr, flush=True)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which torchrun now sends; there is nothing more to put away
        return error.exit_code  # what ended the other is the error to tell
    except P2PError as error:
        messages.send(Failed(error=type(error).__name__, problem=error.problem, remedy=error.remedy))
        return error.exit_code
    return 0


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    raise SystemExit(128 + number)


def _take_part(request: TrainingRequest, messages: _Messages) -> TrainingOutcome | None:
    """What the first of the run's processes brings back; None in the others, which write nothing."""
    from p2p_core.model.device import imitates_bf16, usable_device
    from p2p_core.model.processes import Processes, joined
    from p2p_core.pairstore.reader import PairStore
    from p2p_core.training.checkpoint import checkpoint_to_resume, require_same_run
    from p2p_core.training.loop import take_part

    config = _begun_with(request) or _from_recipe(request)
    Processes(count=request.processes).share_of(config.batch_size)  # refused before anything is written
    writes = os.environ.get("RANK", "0") == "0"  # torchrun's name for the first
    with sole_training(request.run_dir) if writes else nullcontext(), joined(request.processes, request.device) as joint:
        processes, device = joint
        if processes.is_first and config.precision == "bf16" and imitates_bf16(usable_device(device)):
            slow = "Warning: this CPU has no instructions for bf16 and takes some 20 times as long as with --set precision=fp32"
            print(slow, file=sys.stderr, flush=True)
        budget = _budget(request, config, device, processes)
        config = _within(config, budget)
        checkpoint = checkpoint_to_resume(request.run_dir / "checkpoints") if request.resume else None
        if checkpoint:  # what cannot go on is refused before anything of it is written over
            require_same_run(checkpoint, config, PairStore.open(request.data).manifest.digest)
        processes.require_same(config.model_dump_json(), device)  # and nothing is written before all have read
        if processes.is_first:
            return _train(request, config, budget, messages, device, processes)
        take_part(config, request.data, request.run_dir, processes=processes, resume=request.resume, device=device)
        return None


def _train(
    request: TrainingRequest, config: RunConfig, budget: Budget, messages: _Messages, device: str, processes: Processes
) -> TrainingOutcome:
    from p2p_core.training.checkpoint import latest_checkpoint
    from p2p_core.training.loop import train
    from p2p_core.training.tracker import JsonLinesTracker, Tracker, Trackers

    write_json(request.run_dir / _BUDGET, budget.model_dump())
    messages.send(Planned(budget=budget))
    checkpoint = latest_checkpoint(request.run_dir / "checkpoints") if request.resume else None
    images_seen = int(checkpoint.name) if checkpoint else 0
    messages.update(images_seen)  # rates count from here
    trackers: list[Tracker] = [JsonLinesTracker(request.run_dir, images_seen), messages]
    mlflow = _mlflow(request)
    trackers += [mlflow] if mlflow else []
    status: RunStatus = "KILLED"
    try:
        result = train(
            config,
            request.data,
            request.run_dir,
            tracker=Trackers(trackers),
            progress=messages,
            resume=request.resume,
            device=device,
            processes=processes,
        )
        status = "FINISHED"
    except Exception:
        status = "FAILED"
        raise
    finally:
        if mlflow:
            mlflow.finish(status)
        trackers[0].close()
    return TrainingOutcome(**dict(result), budget=budget, run_id=mlflow.run_id if mlflow else None)


def _from_recipe(request: TrainingRequest) -> RunConfig:
    from p2p_core.pairstore.reader import PairStore
    from p2p_core.recipes import recipe, recipe_for

    recipe(request.recipe)  # a name nobody knows is told before a store that is none
    return with_settings(recipe_for(request.recipe, PairStore.open(request.data).manifest), request.settings or ())


def _begun_with(request: TrainingRequest) -> RunConfig | None:
    """What the run in `run_dir` began with, if that is what is asked for and there is one."""
    from p2p_core.training.config import RunConfig

    path = request.run_dir / "config.json"
    if not (request.resume and request.settings is None and path.exists()):
        return None
    config = RunConfig.parse(json.loads(path.read_bytes()), where=str(path), error=CheckpointError)
    if config.recipe != request.recipe:
        raise UsageError(
            f"{request.run_dir} holds a run of recipe {config.recipe}, not {request.recipe}",
            remedy=f"Resume it as {config.recipe}, or choose another directory",
        )
    return config


def _mlflow(request: TrainingRequest) -> MlflowTracker | None:
    if request.tracking_uri is None:
        return None
    from flows.services.mlflow_tracking import MlflowTracker
    from p2p_core.pairstore.reader import PairStore

    store = PairStore.open(request.data)  # before there is a run that data which is no store would leave open
    tags = {"p2p.recipe": request.recipe, "p2p.data": str(request.data)}
    return MlflowTracker(request.tracking_uri, request.experiment, request.run_dir, tags=tags, store=store)


def _budget(request: TrainingRequest, config: RunConfig, device: str, processes: Processes) -> Budget:
    """A budget is a number of images. Minutes choose it once; a resumed run keeps what was chosen then."""
    path = request.run_dir / _BUDGET
    if request.images is not None:
        return Budget(images=request.images, chosen_by="images")
    if request.minutes is None:
        if request.resume and request.settings is None and path.exists():
            return _known_budget(path)
        return Budget(images=config.budget_images, chosen_by="recipe")
    if request.resume and path.exists() and (known := _known_budget(path)).minutes == request.minutes:
        return known
    from p2p_core.training.budget import images_for_minutes

    timed = images_for_minutes(config, request.minutes, device, processes)
    return Budget(
        images=timed.budget_images, chosen_by="minutes", minutes=request.minutes, every_images=timed.validate_every_images
    )


def _known_budget(path: Path) -> Budget:
    return Budget.parse(json.loads(path.read_bytes()), where=str(path), error=CheckpointError)


def _within(config: RunConfig, budget: Budget) -> RunConfig:
    if budget.every_images is None:
        return replace(config, budget_images=budget.images)
    every = budget.every_images
    return replace(config, budget_images=budget.images, validate_every_images=every, checkpoint_every_images=every)


if __name__ == "__main__":
    sys.exit(_main())
