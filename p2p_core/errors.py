"""One tree of errors. Each says what happened, where, and what to do about it.

The command line prints `str(error)` and exits with `error.exit_code`; nothing a user can cause ends in a traceback.
Code that meets bad *data* inside a dataset build returns `preprocessing.pairs.Rejected` instead: bad data is a value.
"""

from __future__ import annotations

from functools import partial

__all__ = [
    "BundleError",
    "CheckpointError",
    "CollapseError",
    "ConfigError",
    "DivergenceError",
    "EmptySourceError",
    "EngineError",
    "LedgerError",
    "MissingDependencyError",
    "NoMemoryError",
    "OutputError",
    "P2PError",
    "PairingError",
    "PlanError",
    "ProcessLostError",
    "RasterError",
    "ServiceError",
    "SizeMismatchError",
    "StoreError",
    "UsageError",
    "WeightsError",
]


class P2PError(Exception):
    """Something a user can cause and mend.

    Args:
        problem: what is wrong, naming the value and the place, as a sentence without a full stop.
        remedy: what the reader can do now, as an imperative sentence without a full stop.
    """

    exit_code = 1

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(problem, remedy)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem}. {self.remedy}."

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (Dask workers, the training process): keep the keyword argument.
        return (_rebuild, (type(self), self.problem, self.remedy))


def _rebuild(kind: type[P2PError], problem: str, remedy: str) -> P2PError:
    return kind(problem, remedy=remedy)


class UsageError(P2PError):
    """The command was asked for something it cannot mean."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration value that a user gave is unknown, misspelt, out of range or does not fit the data."""


class RasterError(P2PError):
    """An image or raster cannot be read: truncated, corrupt, of an unknown format, or a decompression bomb.

    `reason` is a short code for tables of rejected sources: missing, empty, truncated, unreadable, unsupported, bomb.
    """

    def __init__(self, problem: str, *, remedy: str, reason: str = "unreadable") -> None:
        super().__init__(problem, remedy=remedy)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (partial(type(self), remedy=self.remedy, reason=self.reason), (self.problem,))


class SizeMismatchError(P2PError):
    """Two things that must cover the same pixels do not."""


class PairingError(P2PError):
    """Inputs and targets cannot be told which belongs to which: a name has no counterpart, or two."""


class EmptySourceError(P2PError):
    """A source holds nothing to work on."""


class StoreError(P2PError):
    """A pair store is incomplete, corrupt, or does not fit what is asked of it."""


class BundleError(P2PError):
    """A model bundle is incomplete, corrupt, or does not fit its input."""


class EngineError(P2PError):
    """Another engine than PyTorch cannot run a model, or makes something else of it."""


class CheckpointError(P2PError):
    """A training checkpoint is truncated, foreign, or does not belong to this run."""


class DivergenceError(P2PError):
    """Training produced a value that is not a number, or moves ever further away from its targets."""


class CollapseError(P2PError):
    """A generator paints nothing any more, and its discriminator has nothing to teach it."""


class ProcessLostError(P2PError):
    """A process that trains together with this one is gone. What ended that one is the error to read."""


class PlanError(P2PError):
    """An archive cannot be cut into blocks as asked."""


class LedgerError(P2PError):
    """An output's ledger is damaged, locked, or belongs to another job."""


class OutputError(P2PError):
    """A result cannot be written: the place is read-only, full, or holds something else."""


class ServiceError(P2PError):
    """A server this work needs (Prefect, MLflow, a Dask scheduler) does not answer or refuses."""


class MissingDependencyError(P2PError):
    """A file or package this work needs is not installed."""


class NoMemoryError(P2PError):
    """The machine or its accelerator has less memory than this work needs."""


class WeightsError(P2PError):
    """A published network's weights file is missing, damaged, or another file than it should be."""
