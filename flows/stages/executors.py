"""Where the work of a stage is done: in this process, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from p2p_core.config import Config
from p2p_core.errors import ConfigError

if TYPE_CHECKING:
    from flows.services.cluster import DaskExecutor

__all__ = ["Workers", "available_cpus", "executor_of"]

_ADDRESS = re.compile(r"([a-z]+://)?\S+:\d+")


class Workers(Config):
    """`count` processes of this machine, 0 for this process alone; or those of the Dask `scheduler`, tcp://host:8786."""

    count: int = Field(0, ge=0)
    scheduler: str | None = None

    @field_validator("scheduler")
    @classmethod
    def _is_address(cls, scheduler: str | None) -> str | None:
        if scheduler is not None and not _ADDRESS.fullmatch(scheduler):
            raise ConfigError(
                f"The scheduler {scheduler!r} is no address", remedy="Give what `dask scheduler` prints: tcp://host:8786"
            )
        return scheduler


def available_cpus() -> int:
    """CPUs this process may use, which in a container or a batch job are fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def executor_of(workers: Workers) -> Iterator[DaskExecutor | None]:
    """None stands for this process. A cluster of our own is closed at the end."""
    if workers.scheduler is None and workers.count == 0:
        yield None
        return
    from flows.services.cluster import dask_executor

    with dask_executor(max(workers.count, 1), workers.scheduler) as executor:
        yield executor
