"""How far an output is: planned, done, failed, remaining, time left. Reads the ledger; can be asked while a run goes on."""

from __future__ import annotations

from pathlib import Path

from p2p_core.archive.ledger import Ledger, Survey
from p2p_core.archive.store import OutputStore
from p2p_core.config import Config

__all__ = ["ArchiveStatus", "output_status"]


class ArchiveStatus(Config):
    """Counts of blocks.

    Attributes:
        stale: of the remaining, those that were committed once and no longer hold.
        blocks_per_s: rate of the latest run, None before its first block.
        eta_s: time left at that rate; 0 when nothing remains, None when the rate is unknown.
    """

    planned: int
    done: int
    failed: int
    stale: int
    remaining: int
    blocks_per_s: float | None
    eta_s: float | None
    model_name: str | None
    model_version: str | None
    source: str


def output_status(path: Path) -> ArchiveStatus:
    """Raises `LedgerError` where `path` is no archive output."""
    store = OutputStore(path)
    job = store.read_job()
    ledger = Ledger(store, job)
    survey = ledger.survey(job.plan)
    run = ledger.read_run()
    rate = _rate(survey, run.started_at_s) if run else None
    remaining = len(survey.to_do) - len(survey.failed)
    return ArchiveStatus(
        planned=len(job.plan),
        done=len(survey.done),
        failed=len(survey.failed),
        stale=len(survey.stale),
        remaining=remaining,
        blocks_per_s=rate,
        eta_s=0.0 if not remaining else remaining / rate if rate else None,
        model_name=job.model_name,
        model_version=job.model_version,
        source=str(job.source),
    )


def _rate(survey: Survey, started_at_s: float) -> float | None:
    """Blocks per second between the run's start and its latest commit: right also for a run that was killed."""
    commits_s = [record.committed_at_s for record in survey.done.values() if record.committed_at_s > started_at_s]
    return len(commits_s) / (max(commits_s) - started_at_s) if commits_s else None
