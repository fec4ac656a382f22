"""What the page reads from the files of a demo directory: only the fields it shows, whoever wrote the rest.

A file that is absent or damaged becomes a `NotMade` in its part's place; it never stops the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from pydantic import ConfigDict, Field

from p2p_core.config import Config
from p2p_core.errors import EmptySourceError, P2PError, StoreError
from p2p_core.training import tracker

__all__ = [
    "Demo",
    "Evaluation",
    "NotMade",
    "Promotion",
    "Record",
    "Scores",
    "Step",
    "attempt",
    "read_metrics",
    "read_record",
    "require",
]

T = TypeVar("T")
R = TypeVar("R", bound="Record")
P = ParamSpec("P")


@dataclass(frozen=True)
class NotMade:
    """Stands where a part of the page would be; `reason` says which file is absent or why it cannot be read."""

    reason: str


class Record(Config):
    """A JSON file written by another room: fields the page does not show are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class Step(Record):
    name: str
    elapsed_s: float
    reused: bool = False
    detail: str = ""


class Demo(Record):
    """`demo.json`."""

    steps: tuple[Step, ...] = ()
    total_s: float | None = None
    promoted: bool | None = None
    model: str = ""
    hardware: str | dict[str, Any] = ""
    versions: dict[str, Any] = Field(default_factory=dict)
    digests: dict[str, Any] = Field(default_factory=dict)
    budget: dict[str, Any] = Field(default_factory=dict)
    ways_to_look: tuple[str, ...] = ()

    @property
    def any_reused(self) -> bool:
        return any(step.reused for step in self.steps)

    @property
    def made_in_s(self) -> float:
        """How long it took to make what is there: this run, or the steps of the runs that did them."""
        return sum(step.elapsed_s for step in self.steps) if self.any_reused else self.total_s or 0.0


class Promotion(Record):
    """`promotion.json`."""

    promoted: bool
    reason: str = ""
    name: str = ""
    version: int | str | None = None


class Scores(Record):
    """Means over the images of a split. `l1` in grey levels of 255; None where a score is infinite or was not taken."""

    l1: float
    psnr_db: float | None = None
    ssim: float | None = None
    gradient_energy_ratio: float | None = None
    checkerboard_ratio: float | None = None


class Evaluation(Record):
    """`evaluation/evaluation.json`: `p2p_core.evaluation.evaluate.Evaluation`, which cannot be imported without PyTorch."""

    split: str
    num_images: int
    scores: dict[str, Scores]
    protocol: dict[str, Any] = Field(default_factory=dict)


def attempt(directory: Path, part: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | NotMade:
    """The part, or why there is none; paths in the reason are relative to `directory`, wherever that lies."""
    try:
        return part(*args, **kwargs)
    except P2PError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename or 'A file'}: {error.strerror or error}."
    return NotMade(reason.replace(f"{directory}/", ""))


def require(path: Path) -> Path:
    """`path` itself. Raises `EmptySourceError` where nothing is there."""
    if not path.exists():
        raise EmptySourceError(f"{path} is absent", remedy="Run `p2p demo` again; it makes what is missing")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises `EmptySourceError` where it is absent, `StoreError` where it is damaged."""
    try:
        value = json.loads(require(path).read_bytes())
    except ValueError as error:
        raise StoreError(f"{path} is not valid JSON: {error}", remedy="Delete it and run `p2p demo` again") from None
    if not isinstance(value, dict):
        raise StoreError(f"{path} holds no JSON object", remedy="Delete it and run `p2p demo` again")
    return value


def read_record(kind: type[R], path: Path) -> R:
    """A record of this kind. Raises what `read_json` raises, and `StoreError` where a field has another type."""
    return kind.parse(read_json(path), where=str(path), error=StoreError)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a run's `metrics.jsonl`. Raises `EmptySourceError` for none, `StoreError` for a damaged line."""
    try:
        rows = tracker.read_metrics(require(path))
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}", remedy="Delete the damaged line and run `p2p report` again") from None
    if not rows:
        raise EmptySourceError(f"{path} holds no metrics", remedy="Train for longer than one logging interval")
    return rows
