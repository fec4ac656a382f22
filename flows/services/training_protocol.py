"""What the launcher and the training process say to each other: one request file, then one JSON message a line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from p2p_core.config import Config
from p2p_core.training.result import TrainingResult

__all__ = [
    "Advanced",
    "Budget",
    "Failed",
    "Finished",
    "Message",
    "Pictured",
    "Planned",
    "TrainingOutcome",
    "TrainingRequest",
    "parse_message",
]


class TrainingRequest(Config):
    """One training run, by names and paths.

    Attributes:
        data: the pair store.
        run_dir: everything the run leaves.
        settings: `key=value` over the recipe, as `--set` takes them; None, with `resume`: those the run began with.
        images, minutes: the budget; at most one of them. Neither takes the recipe's, or with `settings` None the run's.
        resume: go on from the newest checkpoint in `run_dir`, if there is one.
        processes: so many train together, by torchrun on this machine: each on a GPU of its own, or all on the CPU.
        tracking_uri: an MLflow address; None keeps the run's numbers in `run_dir` alone.
    """

    recipe: str
    data: Path
    run_dir: Path
    settings: tuple[str, ...] | None = ()
    images: int | None = Field(None, ge=1)
    minutes: float | None = Field(None, gt=0)
    resume: bool = False
    device: str = "auto"
    processes: int = Field(1, ge=1, le=64)
    tracking_uri: str | None = None
    experiment: str = "p2p"


class Budget(Config):
    """budget.json of a run: how many images it sees, and what chose that number.

    Attributes:
        every_images: validation and checkpoint interval that goes with a budget chosen by minutes.
    """

    images: int
    chosen_by: Literal["images", "minutes", "recipe"]
    minutes: float | None = None
    every_images: int | None = None


class TrainingOutcome(TrainingResult):
    """What a finished run leaves. `run_id` is MLflow's; None where there is none or it was away."""

    budget: Budget
    run_id: str | None = None


class Planned(Config):
    kind: Literal["planned"] = "planned"
    budget: Budget


class Advanced(Config):
    kind: Literal["advanced"] = "advanced"
    images_seen: int
    note: str = ""


class Pictured(Config):
    """A sheet of the fixed validation pairs was written."""

    kind: Literal["pictured"] = "pictured"
    path: Path


class Failed(Config):
    """A `P2PError`: `error` is the name of its class."""

    kind: Literal["failed"] = "failed"
    error: str
    problem: str
    remedy: str


class Finished(Config):
    kind: Literal["finished"] = "finished"
    outcome: TrainingOutcome


Message = Annotated[Planned | Advanced | Pictured | Failed | Finished, Field(discriminator="kind")]
_MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


def parse_message(line: bytes) -> Message:
    return _MESSAGE.validate_json(line)
