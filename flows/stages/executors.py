"""Where the work of a stage is done: in this process, in processes of this machine, or on a Dask cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pydantic import Field

from p2p_core.config import Config

if TYPE_CHECKING:
    from flows.services.cluster import DaskExecutor

__all__ = ["Workers", "available_cpus", "executor_of"]


class Workers(Config):
    """`count` processes of this machine, 0 for this process alone; or those of the Dask `scheduler`, tcp://host:8786."""

    count: int = Field(0, ge=0)
    scheduler: str | None = None


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
