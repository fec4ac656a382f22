"""The Prefect worker that started this process, if one did."""

from __future__ import annotations

import os

__all__ = ["require_worker"]

# As it was at the start. A script that nobody's worker started may well outlive its shell.
_WORKER = os.getppid() if "PREFECT__FLOW_RUN_ID" in os.environ else None


def require_worker() -> None:
    """End this process where its worker is gone: Prefect could not cancel the run any more, nor could anybody find it.

    Raises:
        SystemExit: Prefect then calls the run crashed.
    """
    if _WORKER not in (None, os.getppid()):
        raise SystemExit("The worker that started this run is gone")
