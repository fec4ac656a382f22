"""The ledger: one small file a block. Its presence, with the right digests, means the block is committed.

A shard is written and flushed first, its record second and atomically, so whatever kills a process leaves either a
committed block or one that is done again. Nothing is appended to or rewritten by two writers.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from p2p_core.archive.job import PinnedJob
from p2p_core.archive.plan import ArchivePlan, Block
from p2p_core.archive.store import OutputStore, read_json
from p2p_core.config import Config
from p2p_core.errors import LedgerError
from p2p_core.files import output_errors, sha256_file, sha256_json, write_json

__all__ = ["BlockFailure", "BlockRecord", "Ledger", "RunMark", "Survey"]


class BlockRecord(Config):
    """A committed block.

    Attributes:
        job_digest: the pin it was made under; another pin makes it stale.
        source_window_digest: sha256 of the source pixels it was made from, halo included.
        pixels_digest: sha256 of its pixels, (height, width, bands) in C order; the same however they are stored.
        shard_digest, shard_bytes: of the stored file.
        num_forwards: forward passes it took.
    """

    schema_version: Literal[1] = 1
    row: int
    column: int
    job_digest: str
    source_window_digest: str
    pixels_digest: str
    shard_digest: str
    shard_bytes: int
    num_forwards: int
    elapsed_s: float
    committed_at_s: float


class BlockFailure(Config):
    """A block that cannot be translated, and why. A rerun tries it again."""

    schema_version: Literal[1] = 1
    row: int
    column: int
    job_digest: str
    reason: str
    remedy: str
    failed_at_s: float


class RunMark(Config):
    """The latest run on an output: when it began and how many blocks it set out to do."""

    schema_version: Literal[1] = 1
    started_at_s: float
    num_blocks: int


@dataclass(frozen=True)
class Survey:
    """What the ledger says about every block of a plan, by block key.

    Attributes:
        done: committed, and still true.
        to_do: every other block, in plan order: never done, stale, or failed before.
        stale: those of `to_do` that were committed once, and why that no longer holds.
        failed: those of `to_do` that could not be translated when last tried.
    """

    done: dict[str, BlockRecord]
    to_do: list[Block]
    stale: dict[str, str]
    failed: dict[str, BlockFailure]

    @property
    def output_digest(self) -> str:
        """One name for all committed pixels: equal outputs have equal digests, whoever made them in whatever order."""
        return sha256_json({key: record.pixels_digest for key, record in self.done.items()})


class Ledger:
    """The records of one output under one pinned job."""

    def __init__(self, store: OutputStore, job: PinnedJob) -> None:
        self._store = store
        self._job = job
        self._blocks = store.ledger_path / "blocks"
        self._failed = store.ledger_path / "failed"
        self._run = store.ledger_path / "run.json"

    def start_run(self, num_blocks: int) -> None:
        write_json(self._run, RunMark(started_at_s=time.time(), num_blocks=num_blocks).model_dump(mode="json"))

    def read_run(self) -> RunMark | None:
        values = read_json(self._run)
        return None if values is None else RunMark.parse(values, where=str(self._run), error=LedgerError)

    def withdraw(self, block: Block) -> None:
        """Take back the block's record before its shard is written anew."""
        path = self._path(self._blocks, block)
        with output_errors(path):
            path.unlink(missing_ok=True)

    def commit(self, block: Block, record: BlockRecord) -> None:
        """Make the block done. Its shard must lie on the disk."""
        write_json(self._path(self._blocks, block), record.model_dump(mode="json"))
        self._path(self._failed, block).unlink(missing_ok=True)

    def fail(self, block: Block, reason: str, remedy: str) -> BlockFailure:
        failure = BlockFailure(
            row=block.row,
            column=block.column,
            job_digest=self._job.digest,
            reason=reason,
            remedy=remedy,
            failed_at_s=time.time(),
        )
        write_json(self._path(self._failed, block), failure.model_dump(mode="json"))
        return failure

    def survey(self, plan: ArchivePlan, *, rehash: bool = False) -> Survey:
        """Sort every block of the plan into done and to do.

        Args:
            rehash: also compare each shard's sha256; otherwise only its presence and size.
        """
        done: dict[str, BlockRecord] = {}
        stale: dict[str, str] = {}
        failed: dict[str, BlockFailure] = {}
        to_do = []
        committed, refused = _names(self._blocks), _names(self._failed)
        for block in plan.blocks():
            if block.key in refused and (failure := self._failure(block)):
                failed[block.key] = failure
            record = self._record(block) if block.key in committed else None
            reason = self._staleness(block, record, rehash) if record else None
            if record and reason is None:
                done[block.key] = record
                failed.pop(block.key, None)
                continue
            to_do.append(block)
            if reason or block.key in committed:
                stale[block.key] = reason or "its record is damaged"
        return Survey(done, to_do, stale, failed)

    def _staleness(self, block: Block, record: BlockRecord, rehash: bool) -> str | None:
        """Why a committed block does not hold, or None."""
        path = self._store.shard_path(block)
        if record.job_digest != self._job.digest:
            return "it was made by another job"
        try:
            size_bytes = path.stat().st_size
        except FileNotFoundError:
            return f"its shard {path} is missing"
        if size_bytes != record.shard_bytes:
            return f"its shard {path} has {size_bytes} bytes instead of {record.shard_bytes}"
        if rehash and sha256_file(path) != record.shard_digest:
            return f"its shard {path} is not what was written"
        return None

    def _record(self, block: Block) -> BlockRecord | None:
        path = self._path(self._blocks, block)
        try:  # a damaged record commits nothing: the block is done again
            return BlockRecord.parse(read_json(path) or {}, where=str(path), error=LedgerError)
        except LedgerError:
            return None

    def _failure(self, block: Block) -> BlockFailure | None:
        path = self._path(self._failed, block)
        try:
            failure = BlockFailure.parse(read_json(path) or {}, where=str(path), error=LedgerError)
        except LedgerError:
            return None
        return failure if failure.job_digest == self._job.digest else None

    def _path(self, folder: Path, block: Block) -> Path:
        return folder / f"{block.key}.json"


def _names(folder: Path) -> set[str]:
    """Stems of the records in a folder, by one listing: asking for each block would cost a look-up a block."""
    try:
        return {path.stem for path in folder.iterdir() if path.suffix == ".json"}
    except FileNotFoundError:
        return set()
