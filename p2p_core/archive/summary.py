"""What a run left behind: `OUTPUT/summary.json`, written last."""

from __future__ import annotations

from typing import Literal

from p2p_core.archive.ledger import BlockFailure
from p2p_core.archive.store import OutputStore, read_json
from p2p_core.config import Config
from p2p_core.errors import LedgerError

__all__ = ["ArchiveSummary", "read_finished"]


class ArchiveSummary(Config):
    """Counts of blocks, and what was done about them in the latest run.

    Attributes:
        num_redone: of the blocks done in this run, those that had been committed before and were stale.
        changed_pins: pins that differ from the earlier run on this output; they made all its blocks stale.
        num_forwards: forward passes of this run; 0 when everything was done already.
        output_digest: names all committed pixels.
        failures: blocks that could not be translated; a rerun tries them again.
    """

    schema_version: Literal[1] = 1
    job_digest: str
    output_digest: str
    num_blocks: int
    num_done: int
    num_reused: int
    num_redone: int
    num_forwards: int
    overhead: float
    elapsed_s: float
    changed_pins: list[str]
    failures: list[BlockFailure]

    @property
    def complete(self) -> bool:
        """Every block is committed."""
        return self.num_done == self.num_blocks


def read_finished(store: OutputStore) -> ArchiveSummary:
    """The summary of an output whose blocks are all committed. Raises `LedgerError` for any other."""
    values = read_json(store.summary_path)
    summary = None if values is None else ArchiveSummary.parse(values, where=str(store.summary_path), error=LedgerError)
    if summary is None or not summary.complete:
        state = f"{summary.num_blocks - summary.num_done} of its blocks failed" if summary else "its run has not ended"
        raise LedgerError(f"{store.root} is not finished: {state}", remedy="Run the translation again, then export")
    return summary
