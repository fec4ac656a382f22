"""Read a complete pair store. Legend: N pairs, H W pixels, C bands; pixels are of their encodings' dtypes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from p2p_core.errors import StoreError
from p2p_core.files import sha256_bytes
from p2p_core.pairstore.layout import ROLES, SPLITS, array_path, shard_path
from p2p_core.pairstore.manifest import Manifest, read_manifest
from p2p_core.pairstore.schema import (
    PAIRS_TABLE,
    REJECTED_TABLE,
    SOURCES_TABLE,
    PairRecord,
    RejectedRecord,
    SourceRecord,
    pairs_from_parquet,
    rejected_from_parquet,
    sources_from_parquet,
)
from p2p_core.pairstore.shards import read_pair
from p2p_core.pairstore.versions import VERSIONS, current_version, is_version, named_version

__all__ = ["PairSplit", "PairStore"]


class PairStore:
    """One complete version of a dataset: `PairStore.open(path)`."""

    def __init__(self, version_path: Path, manifest: Manifest) -> None:
        self.version_path, self.manifest = version_path, manifest

    @classmethod
    def open(cls, path: Path) -> PairStore:
        """Open a store's current version, a version's directory, or `STORE@VERSION`.

        Looks that every file is there, in its full size.

        Raises:
            StoreError: not a store, incomplete, or a file is missing or cut short.
        """
        path = named_version(path)
        version_path = path if is_version(path) else current_version(path)
        manifest = read_manifest(version_path)
        for name, entry in manifest.files.items():
            file = version_path / name
            # A missing shard would read as black pictures: Zarr takes absence for zeros.
            if not file.is_file() or file.stat().st_size != entry.size_bytes:
                raise StoreError(f"{file} is missing or cut short", remedy=_REBUILD)
        return cls(version_path, manifest)

    @property
    def path(self) -> Path:
        """The store's directory; a version's own where it lies outside a store."""
        version_path = self.version_path.resolve()
        return version_path.parents[1] if version_path.parent.name == VERSIONS else version_path

    @cached_property
    def pairs(self) -> tuple[PairRecord, ...]:
        """Every pair's record, by split and slot."""
        return tuple(pairs_from_parquet(self._table(PAIRS_TABLE)))

    @cached_property
    def rejected(self) -> tuple[RejectedRecord, ...]:
        return tuple(rejected_from_parquet(self._table(REJECTED_TABLE)))

    @cached_property
    def sources(self) -> tuple[SourceRecord, ...]:
        return tuple(sources_from_parquet(self._table(SOURCES_TABLE)))

    def _table(self, name: str) -> bytes:
        """A table's bytes. Raises `StoreError` unless they are what was written."""
        data = (self.version_path / name).read_bytes()
        if sha256_bytes(data) != self.manifest.files[name].sha256:
            raise StoreError(f"{self.version_path / name} is damaged: its sha256 does not fit", remedy=_REBUILD)
        return data

    def split(self, name: str) -> PairSplit:
        """The pairs of a split, in order of their slots.

        Raises:
            StoreError: the store has no pair in it, or no split has this name.
        """
        if not self.manifest.counts.get(name):
            counts = self.manifest.counts
            there = ", ".join(f"{split} ({counts[split]} pairs)" for split in SPLITS if counts[split])
            raise StoreError(
                f"{self.version_path} has no pairs in split {name!r}, only in {there}",
                remedy=_ways_to_fill(name, self.manifest) if name in SPLITS else f"Use one of: {', '.join(SPLITS)}",
            )
        records = tuple(record for record in self.pairs if record.split == name)
        layout, jitter_px = self.manifest.layout, self.manifest.jitter_px
        shards = frozenset(file for file in self.manifest.files if file.startswith(f"{name}/"))
        return PairSplit(self.version_path, name, records, layout.pairs_per_shard, jitter_px, shards)


_REBUILD = "Run `p2p verify` on the store to see every bad file, then the same build again: it makes them anew"


def _ways_to_fill(split: str, manifest: Manifest) -> str:
    """How `p2p build` gives an empty split its share."""
    kind = manifest.split_rule.get("kind")
    if kind == "directory":
        other = "source" if manifest.builder in ("frames", "maps") else "name"  # as `p2p build` would have it
        return f"Build it again with sources in a directory {split}/, or with --split {other} --fractions 0.8,0.1,0.1"
    chance = {"block": ", --block-px 256 or another --seed", "latitude": ""}.get(str(kind), " or another --seed")
    return f"Build it again with a larger share for {split}, --fractions 0.6,0.2,0.2{chance}"


class PairSplit:
    """The pairs of one split. Safe to use from several threads and, reopened on demand, from worker processes."""

    def __init__(
        self,
        version_path: Path,
        name: str,
        records: tuple[PairRecord, ...],
        pairs_per_shard: int,
        jitter_px: int,
        shards: frozenset[str],
    ) -> None:
        """`shards`: the paths of those that have a file; where all pixels are 0 there is none."""
        self.name, self.records, self.jitter_px = name, records, jitter_px
        self._version_path, self._pairs_per_shard, self._shards = version_path, pairs_per_shard, shards
        self._arrays = {role: _open_array(version_path / array_path(name, role)) for role in ROLES}

    def __len__(self) -> int:
        return len(self.records)

    def __reduce__(self) -> tuple[Any, ...]:
        return PairSplit, (
            self._version_path,
            self.name,
            self.records,
            self._pairs_per_shard,
            self.jitter_px,
            self._shards,
        )

    @property
    def size_px(self) -> tuple[int, int]:
        """(height, width) of every pair, with its room for jitter."""
        height_px, width_px = self._arrays[ROLES[0]].shape[1:3]
        return height_px, width_px

    @property
    def num_bytes(self) -> int:
        """Of all pixels of both halves, in memory."""
        return len(self) * sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in self._arrays.values())

    def read(self, i: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Pair `i` in 0..len-1 as (input_HWC, target_HWC). Nothing but its own bytes is read.

        Raises:
            StoreError: the bytes on disk cannot be decoded.
        """
        input_HWC, target_HWC = (self._read_half(i, role) for role in ROLES)
        return input_HWC, target_HWC

    def read_all(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Every pair as (input_NHWC, target_NHWC) in the order of `records`, reading each shard once."""
        input_NHWC, target_NHWC = (self._read_whole(role) for role in ROLES)
        return input_NHWC, target_NHWC

    def read_spread(self, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """As `read_all`, of `count` pairs, evenly spread; of all where there are no more."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(len(self), count)).astype(int))
        halves = zip(*(self.read(i) for i in chosen), strict=True)
        input_NHWC, target_NHWC = (np.stack(half) for half in halves)
        return input_NHWC, target_NHWC

    def read_cores(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """As `read_all`, without the pairs' room for jitter: their middle, which validation and evaluation see."""
        return self._cores(self.read_all())

    def read_spread_cores(self, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """As `read_spread`, without the pairs' room for jitter."""
        return self._cores(self.read_spread(count))

    def _cores(self, halves: tuple[NDArray[Any], NDArray[Any]]) -> tuple[NDArray[Any], NDArray[Any]]:
        before, after = self.jitter_px // 2, self.jitter_px - self.jitter_px // 2
        input_NHWC, target_NHWC = (
            whole_NHWC[:, before : whole_NHWC.shape[1] - after, before : whole_NHWC.shape[2] - after] for whole_NHWC in halves
        )
        return input_NHWC, target_NHWC

    def _read_half(self, i: int, role: str) -> NDArray[Any]:
        shard, place = divmod(self.records[i].slot, self._pairs_per_shard)
        name, array = shard_path(self.name, role, shard), self._arrays[role]
        if name not in self._shards:
            return np.zeros(array.shape[1:], array.dtype)
        with self._decoding(role, self.records[i].slot):
            return read_pair(self._version_path / name, place, array.shape[1:], self._pairs_per_shard, array.dtype)

    def _read_whole(self, role: str) -> NDArray[Any]:
        slots = np.array([record.slot for record in self.records])
        shards = slots // self._pairs_per_shard
        whole_NHWC = np.empty((len(slots), *self._arrays[role].shape[1:]), dtype=self._arrays[role].dtype)
        for shard in np.unique(shards):
            chosen = shards == shard
            first, last = int(slots[chosen].min()), int(slots[chosen].max())  # reading empty slots takes time too
            with self._decoding(role, slice(first, last + 1)):
                part_NHWC = np.asarray(self._arrays[role][first : last + 1])
            whole_NHWC[chosen] = part_NHWC[slots[chosen] - first]
        return whole_NHWC

    @contextmanager
    def _decoding(self, role: str, slots: int | slice) -> Iterator[None]:
        try:
            yield
        except (ValueError, RuntimeError, OSError) as error:  # checksums of Zarr and zstd, and the disk's own
            place = self._version_path / array_path(self.name, role)
            raise StoreError(f"{place} cannot be decoded at slot {slots}: {error}", remedy=_REBUILD) from error


def _open_array(path: Path) -> zarr.Array[Any]:
    return zarr.open_array(LocalStore(path, read_only=True), mode="r")
