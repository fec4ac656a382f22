"""Re-hash an output against its ledger and name everything that is wrong with it."""

from __future__ import annotations

from pathlib import Path

from p2p_core.archive.ledger import Ledger, Survey
from p2p_core.archive.store import OutputStore
from p2p_core.archive.summary import read_finished
from p2p_core.errors import LedgerError
from p2p_core.files import Problem

__all__ = ["verify_output"]


def verify_output(path: Path) -> list[Problem]:
    """Every block that is missing, failed or damaged, in plan order; empty when the output is whole.

    Raises:
        LedgerError: `path` is no archive output.
    """
    store = OutputStore(path)
    job = store.read_job()
    survey = Ledger(store, job).survey(job.plan, rehash=True)
    problems = []
    if not store.image_belongs_to(job):
        problems.append(Problem("image.zarr/zarr.json", "is missing, damaged or of another job"))
    for block in survey.to_do:
        name = str(store.shard_path(block).relative_to(store.root))
        if failure := survey.failed.get(block.key):
            problems.append(Problem(name, f"was not made: {failure.reason}"))
        else:
            problems.append(Problem(name, survey.stale.get(block.key, f"was never made: {block}")))
    if not problems and (what := _fault_of_summary(store, survey)):
        problems.append(Problem(store.summary_path.name, what))
    return problems


def _fault_of_summary(store: OutputStore, survey: Survey) -> str | None:
    if not store.summary_path.exists():
        return "is missing: the run was not finished"
    try:
        summary = read_finished(store)
    except LedgerError:
        return "is damaged"
    return None if summary.output_digest == survey.output_digest else "names other pixels than the ledger does"
