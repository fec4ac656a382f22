"""Where a pair lies: source -> bucket -> shards -> slots. Integer arithmetic and file names only.

A source's pairs go to one bucket, by a hash of its id. A bucket owns whole shards, the same ones whatever the other
buckets hold, so one task writes one bucket without meeting another and a changed source touches one bucket's shards:

    shard = part * num_buckets + bucket            part = 0, 1, ... as the bucket fills
    slot  = shard * pairs_per_shard + place        place = 0 .. pairs_per_shard - 1

Slots a bucket does not need stay empty; a shard without pairs has no file.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from p2p_core.config import Config
from p2p_core.files import stable_hash

__all__ = ["ROLES", "SPLITS", "StoreLayout", "array_path", "bucket_path", "shard_path"]

SPLITS = ("train", "val", "test")
ROLES = ("input", "target")


class StoreLayout(Config):
    """How many buckets there are and how many pairs make a shard. Part of a dataset's identity."""

    num_buckets: int = Field(default=32, ge=1)
    pairs_per_shard: int = Field(default=64, ge=1)

    def bucket_of(self, source_id: str) -> int:
        return stable_hash(source_id) % self.num_buckets

    def shard(self, bucket: int, part: int) -> int:
        return part * self.num_buckets + bucket

    def slot(self, bucket: int, position: int) -> int:
        """The slot of a bucket's pair number `position`."""
        part, place = divmod(position, self.pairs_per_shard)
        return self.shard(bucket, part) * self.pairs_per_shard + place

    def num_slots(self, bucket_max_pairs: Iterable[int]) -> int:
        """The length of every array: room for each bucket's most pairs, known before anything is decoded."""
        parts = max((-(-pairs // self.pairs_per_shard) for pairs in bucket_max_pairs), default=0)
        return max(parts, 1) * self.num_buckets * self.pairs_per_shard


def array_path(split: str, role: str) -> str:
    return f"{split}/{role}"


def shard_path(split: str, role: str, shard: int) -> str:
    """A shard's file in a version: Zarr v3's default chunk key for (shard, 0, 0, 0)."""
    return f"{array_path(split, role)}/c/{shard}/0/0/0"


def bucket_path(bucket: int) -> str:
    """The bucket's commit record in a version."""
    return f"buckets/{bucket:05d}.json"
