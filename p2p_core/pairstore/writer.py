"""Write one bucket: pairs stream in, whole shards go out, a commit record last.

A bucket is written by one task. Its record is the proof that its files are complete: a killed build resumes from the
records it finds, a later build links the buckets whose key it knows. Legend: N slots, H W pixels, C bands.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any, ParamSpec, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from p2p_core.config import Config
from p2p_core.files import canonical_json, output_errors, sha256_bytes, write_atomic
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import ROLES, SPLITS, StoreLayout, bucket_path, shard_path
from p2p_core.pairstore.manifest import BandSums, FileEntry
from p2p_core.pairstore.schema import AssignedRecord, PairRecord, RejectedRecord, Settlement
from p2p_core.pairstore.shards import encode_chunk, encode_shard
from p2p_core.pairstore.verify import file_problems

__all__ = ["BucketCommit", "BucketWriter", "commit_bytes", "link_bucket", "read_bucket", "read_commit"]


P = ParamSpec("P")
T = TypeVar("T")


class BucketCommit(Config):
    """What a finished bucket holds. `key` identifies what it was made from (`DatasetSpec.bucket_key`).

    Attributes:
        assigned: its pairs as the split rule put them, if near duplicates are looked for.
        settled: by pair id, what became of those that did not stay there; `pairs` and `rejected` are after that.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    bucket: int
    key: str
    files: dict[str, FileEntry]
    pairs: tuple[PairRecord, ...]
    rejected: tuple[RejectedRecord, ...]
    input_sums: BandSums
    target_sums: BandSums
    assigned: tuple[AssignedRecord, ...] = ()
    settled: dict[str, Settlement] = Field(default_factory=dict)


@dataclass(frozen=True)
class _Facts:
    """What a pair's record and the statistics need of its pixels."""

    sha256: tuple[str, str]
    sums: tuple[BandSums, BandSums] | None


Halves = tuple[NDArray[Any], NDArray[Any]]
Chunks = tuple[bytes | None, bytes | None]

_MAX_WAITING_BYTES = 2**24
"""So many of pixels may wait for their compression, or those of one pair."""

_NUM_THREADS = 2
"""Pairs come in bursts, a block's tiles at once; while they are compressed, there is little else to do."""


class BucketWriter:
    """Writes the pairs of one bucket under `root`, holding at most one compressed shard of each split in memory.

    Pairs are hashed, compressed and written in threads of its own, while the caller decodes the next: they must not change
    afterwards. Pairs come in ascending order of (source_id, pair_id): the order is part of the bytes.
    """

    def __init__(self, root: Path, layout: StoreLayout, bucket: int, key: str) -> None:
        self.root, self.layout, self.bucket, self.key = root, layout, bucket, key
        self._threads = ThreadPoolExecutor(_NUM_THREADS)
        self._writing: list[Future[None]] = []
        self._waiting: dict[str, list[Future[Chunks]]] = {split: [] for split in SPLITS}
        self._latest: deque[tuple[Future[Chunks], int]] = deque()
        self._latest_bytes = 0
        self._num_written = dict.fromkeys(SPLITS, 0)
        self._files: dict[str, FileEntry] = {}
        self._last = ("", "")
        self._pairs: list[tuple[Callable[[str, str], PairRecord], Future[_Facts]]] = []
        self._rejected: list[RejectedRecord] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def add(
        self,
        split: str,
        source_id: str,
        pair_id: str,
        input_HWC: NDArray[Any],
        target_HWC: NDArray[Any],
        *,
        window: Window | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> None:
        if (source_id, pair_id) <= self._last:
            raise ValueError(f"Pair {pair_id!r} of source {source_id!r} comes after {self._last[1]!r}")
        self._last = source_id, pair_id
        halves = np.ascontiguousarray(input_HWC), np.ascontiguousarray(target_HWC)  # often parts of a picture
        slot = self.layout.slot(self.bucket, self._num_written[split] + len(self._waiting[split]))
        of_digests = partial(PairRecord, pair_id, source_id, split, slot, window=window, attributes=dict(attributes or {}))
        self._pairs.append((of_digests, self.beside(_facts, halves, split == "train")))
        num_bytes = sum(half.nbytes for half in halves)
        while self._latest and self._latest_bytes + num_bytes > _MAX_WAITING_BYTES:
            oldest, oldest_bytes = self._latest.popleft()
            oldest.result()
            self._latest_bytes -= oldest_bytes
        chunks = self.beside(_compressed, halves)
        self._latest.append((chunks, num_bytes))
        self._latest_bytes += num_bytes
        self._waiting[split].append(chunks)
        if len(self._waiting[split]) == self.layout.pairs_per_shard:
            self._flush(split)

    def reject(self, record: RejectedRecord) -> None:
        self._rejected.append(record)

    def beside(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have work done in the writer's threads, begun after what they were given before."""
        return self._threads.submit(work, *args, **kwargs)

    def commit(self, assigned: Iterable[AssignedRecord] = (), settled: Mapping[str, Settlement] | None = None) -> BucketCommit:
        """Write what is left, then the record."""
        for split in SPLITS:
            self._flush(split)
        for writing in self._writing:
            writing.result()
        facts = [future.result() for _, future in self._pairs]
        of_train = [found.sums for found in facts if found.sums]
        commit = BucketCommit(
            bucket=self.bucket,
            key=self.key,
            files=self._files,
            pairs=tuple(of_digests(*found.sha256) for (of_digests, _), found in zip(self._pairs, facts, strict=True)),
            rejected=tuple(self._rejected),
            input_sums=reduce(BandSums.merge, (sums for sums, _ in of_train), BandSums()),
            target_sums=reduce(BandSums.merge, (sums for _, sums in of_train), BandSums()),
            assigned=tuple(assigned),
            settled=dict(settled or {}),
        )
        write_atomic(self.root / bucket_path(self.bucket), commit_bytes(commit))
        return commit

    def _flush(self, split: str) -> None:
        waiting, self._waiting[split] = self._waiting[split], []
        if not waiting:
            return
        shard = self.layout.shard(self.bucket, self._num_written[split] // self.layout.pairs_per_shard)
        self._writing.append(self.beside(self._write, split, shard, waiting))
        self._num_written[split] += len(waiting)

    def _write(self, split: str, shard: int, waiting: Sequence[Future[Chunks]]) -> None:
        """Begun after the compression of all of them, so what it waits for is being done."""
        for role, chunks in zip(ROLES, zip(*(future.result() for future in waiting), strict=True), strict=True):
            data = encode_shard(chunks, self.layout.pairs_per_shard)
            if data is not None:
                name = shard_path(split, role, shard)
                write_atomic(self.root / name, data)
                self._files[name] = FileEntry.of(data)


def _facts(halves: Halves, in_train: bool) -> _Facts:
    input_HWC, target_HWC = halves
    sums = (BandSums().add(input_HWC), BandSums().add(target_HWC)) if in_train else None
    return _Facts((_pixels_sha256(input_HWC), _pixels_sha256(target_HWC)), sums)


def _compressed(halves: Halves) -> Chunks:
    return encode_chunk(halves[0]), encode_chunk(halves[1])


def commit_bytes(commit: BucketCommit) -> bytes:
    return canonical_json(commit.model_dump(mode="json"))


def read_commit(root: Path, bucket: int, key: str) -> BucketCommit | None:
    """The bucket's record under `root`, if it was finished and was made from what `key` says."""
    try:
        commit = BucketCommit.model_validate_json((root / bucket_path(bucket)).read_bytes())
    except (OSError, ValueError):  # absent or damaged: either way the bucket has to be made again
        return None
    return commit if commit.bucket == bucket and commit.key == key else None


def read_bucket(root: Path, bucket: int, key: str) -> BucketCommit | None:
    """As `read_commit`, and the bucket's files are hashed and found undamaged."""
    commit = read_commit(root, bucket, key)
    return commit if commit and not any(file_problems(root, commit.files)) else None


def link_bucket(version_path: Path, root: Path, commit: BucketCommit) -> None:
    """Take a bucket over from another version: its files are linked, or copied where links do not work."""
    for name in (*sorted(commit.files), bucket_path(commit.bucket)):
        _link_or_copy(version_path / name, root / name)


def _link_or_copy(source: Path, destination: Path) -> None:
    with output_errors(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        destination.unlink(missing_ok=True)
        try:
            os.link(source, destination)
        except OSError:  # another file system, or one without links; copying fails loudly where writing does
            shutil.copyfile(source, destination)


def _pixels_sha256(pixels_HWC: NDArray[Any]) -> str:
    return sha256_bytes(pixels_HWC.data.cast("B"))
