"""What every flow of this project shares: quiet and patient Prefect settings, retries, and errors without tracebacks."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from p2p_core.errors import P2PError

# Read when Prefect is imported. A flow without a server starts one of its own, slowly on a busy machine.
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from prefect.logging import get_run_logger

from flows.services.launcher import TrainingProcessError

__all__ = ["RETRIES", "announce", "hush_prefect", "worth_retrying"]


def worth_retrying(task: Any, run: Any, state: Any) -> bool:  # noqa: ARG001
    """Whether doing it again can help: not when the input, the configuration or the output place is wrong."""
    error = state.result(raise_on_failure=False)
    return isinstance(error, TrainingProcessError) or not isinstance(error, P2PError)


RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": 2, "retry_condition_fn": worth_retrying}
"""`@task(**RETRIES)`: every stage can be run again; it does only what is missing."""


def announce(line: str) -> None:
    """Tell the run's log and whoever is watching this process."""
    get_run_logger().info(line)
    print(line, file=sys.stderr, flush=True)


class _NoTraceback(logging.Filter):
    """A `P2PError` says itself what is wrong and what to do; the way it took through our code helps nobody."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, P2PError):
            record.exc_info, record.msg, record.args = None, str(error), ()
        return True


for _name in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_name).addFilter(_NoTraceback())


def hush_prefect() -> None:
    """Keep Prefect's own lines off this terminal, for a program that tells itself how far it is. Its server has them all."""
    from prefect.logging.configuration import setup_logging
    from prefect.logging.handlers import PrefectConsoleHandler

    setup_logging()
    for handler in logging.getLogger().handlers:
        if isinstance(handler, PrefectConsoleHandler):
            # A filter, not a level: Prefect sets levels again whenever a flow begins.
            handler.addFilter(lambda record: not record.name.startswith("prefect"))
