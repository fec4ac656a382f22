"""Settle near duplicates: when all buckets of a version are built, some of their pairs move to another split or go.

What becomes of whom is a function of all pairs as the split rule put them, so it is the same for any number of workers and
whatever was reused. Settled buckets are written beside the built ones, from their pixels: sources are not decoded again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import EmptySourceError
from p2p_core.executor import Executor
from p2p_core.pairstore.layout import ROLES, SPLITS, shard_path
from p2p_core.pairstore.schema import PairRecord, RejectedRecord, Settlement, assigned_table
from p2p_core.pairstore.shards import read_pair
from p2p_core.pairstore.writer import BucketCommit, BucketWriter, link_bucket, read_bucket
from preprocessing.buckets import BucketTask, add_pair, build_bucket, reject_item
from preprocessing.grouping import group_of
from preprocessing.name_split import GroupSplit
from preprocessing.near_duplicates import settlements
from preprocessing.pairs import Pair, Rejected

__all__ = ["MOVED_FROM", "NEAR_DUPLICATE", "Survey", "settle"]

MOVED_FROM, NEAR_DUPLICATE_OF = "moved_from", "near_duplicate_of"
"""Attributes of a pair that moved."""

NEAR_DUPLICATE = "near_duplicate"


@dataclass(frozen=True)
class Survey:
    """What has to be known of all buckets at once, as small as it can be kept.

    Attributes:
        assigned: of each bucket, its pairs as the split rule put them (`ASSIGNED_SCHEMA`).
        settled: whether near duplicates of a bucket were settled already.
        first_rejected: None where nothing was.
    """

    assigned: tuple[pa.Table, ...]
    settled: bool
    num_pairs: int
    num_rejected: int
    first_rejected: RejectedRecord | None

    @classmethod
    def of(cls, commits: Iterable[BucketCommit]) -> Survey:
        """Goes through `commits` once and holds one at a time."""
        assigned, settled, num_pairs, num_rejected, first_rejected = [], False, 0, 0, None
        for commit in commits:
            assigned.append(assigned_table(commit.assigned))
            settled = settled or bool(commit.settled)
            num_pairs += len(commit.pairs)
            num_rejected += len(commit.rejected)
            first_rejected = first_rejected or next(iter(commit.rejected), None)
        return cls(tuple(assigned), settled, num_pairs, num_rejected, first_rejected)


def settle(tasks: Sequence[BucketTask], survey: Survey, executor: Executor | None) -> Path:
    """The root of the version with its near duplicates settled: that of the tasks where there are none.

    Args:
        survey: of the buckets of `tasks`, in their order.
    """
    root = tasks[0].root
    rule = tasks[0].split_rule
    assigned = pa.concat_tables(survey.assigned)
    by_source, by_hash = rule.kind != "name", rule.kind != "directory"
    if isinstance(rule, GroupSplit):  # what moves together is a group
        groups = [group_of(source_id, rule.by) or "" for source_id in assigned["source_id"].to_pylist()]
        place = assigned.schema.get_field_index("source_id")
        assigned = assigned.set_column(place, "source_id", pa.array(groups, pa.string()))
    found = settlements(assigned, rule.near_duplicates, rule.min_similarity, by_source=by_source, by_hash=by_hash)
    if not found and not survey.settled:
        return root
    if not by_hash:
        _refuse_emptied(assigned, found)
    settled_root = root.with_name(f"{root.name}-settled")
    work = []
    for task, own in zip(tasks, survey.assigned, strict=True):
        settled = {pair_id: found[pair_id] for pair_id in own["pair_id"].to_pylist() if pair_id in found}
        work.append(_SettleTask(task, settled, settled_root))
    for _ in executor.map(_settle_bucket, work) if executor else map(_settle_bucket, work):
        pass
    return settled_root


def _refuse_emptied(assigned: pa.Table, found: Mapping[str, Settlement]) -> None:
    """Who laid test pictures apart that are all nearly those of training should know at once that they test nothing."""
    stays = assigned.filter(pc.invert(pc.is_in(assigned["pair_id"], pa.array(found, pa.string()))))
    left = {*stays["split"].unique().to_pylist(), *(settlement.split for settlement in found.values())}
    for split in SPLITS:
        gone = assigned.filter(pc.equal(assigned["split"], split))["pair_id"]
        if len(gone) and split not in left:
            first = gone[0].as_py()
            raise EmptySourceError(
                f"Each of the {len(gone)} pairs of {split} is nearly one of another split, or lies in one source with such;"
                f" {first}, for one, by {found[first].near}",
                remedy="Put other pictures there, or let near duplicates stay: --near-duplicates keep",
            )


@dataclass(frozen=True)
class _SettleTask:
    """Goes to a worker."""

    built: BucketTask
    settled: Mapping[str, Settlement]
    root: Path


def _settle_bucket(task: _SettleTask) -> None:
    """Leave a committed bucket under `task.root` in which `task.settled` holds."""
    built = task.built
    done = read_bucket(task.root, built.bucket, built.key)
    if done and done.settled == task.settled:
        return
    commit = read_bucket(built.root, built.bucket, built.key)
    if commit and commit.settled == task.settled:
        link_bucket(built.root, task.root, commit)
        return
    if not commit or any(settlement.split is None for settlement in commit.settled.values()):
        build_bucket(built)  # the pixels of some that were rejected then may be wanted now
        commit = read_bucket(built.root, built.bucket, built.key)
        assert commit is not None, "a bucket that was just built is there"
    _write_settled(task, commit)


def _write_settled(task: _SettleTask, commit: BucketCommit) -> None:
    built = task.built
    with BucketWriter(task.root, built.layout, built.bucket, built.key) as writer:
        for record in commit.rejected:
            writer.reject(record)
        records = {record.pair_id: record for record in commit.pairs}
        pixels = _BuiltPixels(built, commit.files)
        shown: Counter[str] = Counter()
        for assigned in commit.assigned:
            pair = pixels.pair(records[assigned.pair_id])
            settlement = task.settled.get(assigned.pair_id)
            if settlement is None:
                add_pair(writer, assigned.split, pair)
            elif settlement.split is None:
                detail = f"It is nearly {settlement.near}: {settlement.similarity:.2f} of what can be seen is alike"
                reject_item(writer, built.builder, Rejected.of_pair(pair, NEAR_DUPLICATE, detail), shown)
            else:
                moved = {MOVED_FROM: assigned.split, NEAR_DUPLICATE_OF: settlement.near}
                add_pair(writer, settlement.split, replace(pair, attributes={**pair.attributes, **moved}))
        writer.commit(commit.assigned, task.settled)


class _BuiltPixels:
    """Reads the pairs of a built bucket. Only the one asked for is decoded."""

    def __init__(self, task: BucketTask, files: Container[str]) -> None:
        """`files`: the bucket's; a shard of nothing but 0 has none."""
        self._task, self._files = task, files
        encodings = task.builder.input_encoding, task.builder.target_encoding
        self._encodings = dict(zip(ROLES, map(encoding, encodings), strict=True))

    def pair(self, record: PairRecord) -> Pair:
        """As the builder gave it."""
        input_HWC, target_HWC = (self._half(record, role) for role in ROLES)
        attributes = {name: value for name, value in record.attributes.items() if name not in (MOVED_FROM, NEAR_DUPLICATE_OF)}
        return Pair(record.pair_id, record.source_id, input_HWC, target_HWC, record.window, attributes)

    def _half(self, record: PairRecord, role: str) -> NDArray[Any]:
        pairs_per_shard, own = self._task.layout.pairs_per_shard, self._encodings[role]
        shard, place = divmod(record.slot, pairs_per_shard)
        shape = (*self._task.builder.size_px(), own.bands)
        name = shard_path(record.split, role, shard)
        if name not in self._files:
            return np.zeros(shape, own.dtype)
        return read_pair(self._task.root / name, place, shape, pairs_per_shard, own.dtype)
