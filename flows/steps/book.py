"""Which steps of a pipeline are done: the one place where an output directory remembers what it holds and of what.

`steps.json` has, for every step, a key (the digest of everything the step is made of) and its result. A step whose key
is the same and whose outputs are there is not done again. It is recorded twice, when it begins and when it is done, so a
rerun after a kill knows whether what lies there belongs to the same work and can go on with it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field

from p2p_core.config import Config
from p2p_core.errors import OutputError
from p2p_core.files import locked, output_errors, sha256_json, write_json

__all__ = ["Done", "Previous", "Step", "StepBook", "sole_use", "timed"]

Previous = Literal["nothing", "same", "other"]
"""What lies at a step's outputs: nothing that is known, unfinished work of the same key, or work of another key."""

R = TypeVar("R", bound=Config)
_FILE = "steps.json"
_LOCK = ".lock"


class Step(Config):
    """One step as people are told of it, and as `demo.json` has it.

    Attributes:
        elapsed_s: how long it took, in the run that did it.
        reused: an earlier run did it.
    """

    name: str
    elapsed_s: float
    reused: bool
    detail: str


class _Entry(Config):
    key: str
    finished: bool
    elapsed_s: float = 0.0
    result: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Done(Generic[R]):
    """A step and what it made."""

    step: Step
    result: R


class StepBook:
    """The record of one output directory. Written by one process at a time: see `sole_use`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _FILE

    def once(
        self,
        name: str,
        kind: type[R],
        inputs: Mapping[str, Any],
        outputs: Sequence[Path],
        work: Callable[[Previous], R],
        tell: Callable[[R], str],
    ) -> Done[R]:
        """Do `work` unless an earlier run did it with the same `inputs` and all `outputs` are there still.

        Args:
            kind: the class of the result, which is kept as JSON.
            inputs: plain values; digests, not paths.
            work: told what lies there already.
            tell: the result in a few words.

        Raises:
            OutputError: the record is damaged, or cannot be written.
            Whatever `work` raises; the step then counts as begun.
        """
        key = sha256_json({"step": name, **inputs})
        entries = self._read()
        known = entries.get(name)
        if known and known.finished and known.key == key and all(path.exists() for path in outputs):
            result = self._parse(kind, known)
            return Done(Step(name=name, elapsed_s=known.elapsed_s, reused=True, detail=tell(result)), result)
        self._keep(entries, name, _Entry(key=key, finished=False))
        started_s = time.monotonic()
        result = work("nothing" if known is None else "same" if known.key == key else "other")
        elapsed_s = round(time.monotonic() - started_s, 3)
        self._keep(entries, name, _Entry(key=key, finished=True, elapsed_s=elapsed_s, result=result.model_dump(mode="json")))
        return Done(Step(name=name, elapsed_s=elapsed_s, reused=False, detail=tell(result)), result)

    def _keep(self, entries: dict[str, _Entry], name: str, entry: _Entry) -> None:
        entries[name] = entry
        write_json(self._path, {name: entry.model_dump() for name, entry in entries.items()})

    def _read(self) -> dict[str, _Entry]:
        if not self._path.exists():
            return {}
        try:
            values = json.loads(self._path.read_bytes())
            entries = values.items()
            return {name: _Entry.parse(entry, where=f"{self._path}: {name}", error=OutputError) for name, entry in entries}
        except (ValueError, AttributeError, OutputError) as error:
            raise self._damaged(error) from error

    def _parse(self, kind: type[R], entry: _Entry) -> R:
        try:
            return kind.parse(entry.result, where=str(self._path), error=OutputError)
        except OutputError as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> OutputError:
        return OutputError(
            f"{self._path} is damaged: {error}", remedy=f"Choose another output directory, or delete {self._path.parent}"
        )


def timed(name: str, work: Callable[[], R], tell: Callable[[R], str], reused: Callable[[R], bool]) -> Done[R]:
    """A step that asks others (a registry) instead of an own record, and so is gone through in every run."""
    started_s = time.monotonic()
    result = work()
    elapsed_s = round(time.monotonic() - started_s, 3)
    return Done(Step(name=name, elapsed_s=elapsed_s, reused=reused(result), detail=tell(result)), result)


@contextmanager
def sole_use(directory: Path) -> Iterator[None]:
    """Make the directory and hold it for this process; the operating system lets go of it however the process ends.

    Raises:
        OutputError: another process works in it, or it cannot be written.
    """
    with output_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
    busy = OutputError(
        f"Another process is working in {directory}", remedy="Wait until it is done, or choose another directory"
    )
    with locked(directory / _LOCK, busy=busy):
        yield
