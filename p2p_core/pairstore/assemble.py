"""From finished buckets to a complete version: tables, Zarr metadata, and the manifest last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from p2p_core.encodings import encoding
from p2p_core.files import canonical_json, output_errors, write_atomic
from p2p_core.pairstore.layout import SPLITS, bucket_path
from p2p_core.pairstore.manifest import MANIFEST, BandStatistics, BandSums, DatasetSpec, FileEntry, Manifest
from p2p_core.pairstore.schema import (
    PAIRS_TABLE,
    REJECTED_TABLE,
    SOURCES_TABLE,
    SourceRecord,
    pairs_table,
    rejected_table,
    sources_table,
    to_parquet,
)
from p2p_core.pairstore.shards import metadata_documents
from p2p_core.pairstore.writer import BucketCommit

__all__ = ["assemble_version"]


def assemble_version(
    root: Path,
    spec: DatasetSpec,
    sources: Iterable[SourceRecord],
    commits: Iterable[BucketCommit],
    *,
    build_key: str,
    num_slots: int,
) -> Manifest:
    """Complete the version under `root`, whose buckets are all committed. Running it again writes the same bytes.

    Args:
        commits: gone through once, one held at a time: what stays of them are tables of their rows.

    Raises:
        OutputError: the disk is full or the place is read-only.
    """
    found, listed = _Found(), [sources_table(sources)]
    num_sources = len(listed[0])

    def write(name: str, data: bytes) -> None:
        write_atomic(root / name, data)
        found.files[name] = FileEntry.of(data)

    write(SOURCES_TABLE, to_parquet(listed))
    for commit in commits:
        found.add(commit)
        found.files[bucket_path(commit.bucket)] = FileEntry.of((root / bucket_path(commit.bucket)).read_bytes())
    _refuse_double_ids(found.pairs)
    for name, data in found.documents(_zarr_documents(spec, num_slots)):
        write(name, data)
    manifest = Manifest.complete(
        spec,
        build_key=build_key,
        num_slots=num_slots,
        num_sources=num_sources,
        counts={split: found.num_by_split[split] for split in SPLITS},
        rejected=dict(sorted(found.num_by_reason.items())),
        num_moved=found.num_moved,
        input_statistics=BandStatistics.from_sums(found.input_sums),
        target_statistics=BandStatistics.from_sums(found.target_sums),
        files=dict(sorted(found.files.items())),
    )
    _sweep(root, manifest)
    write_atomic(root / MANIFEST, canonical_json(manifest.model_dump(mode="json")))
    return manifest


class _Found:
    """What the buckets hold, as small as it can be kept."""

    def __init__(self) -> None:
        self.pairs: list[pa.Table] = [pairs_table([])]
        self.rejected: list[pa.Table] = [rejected_table([])]
        self.files: dict[str, FileEntry] = {}
        self.num_by_split: Counter[str] = Counter()
        self.num_by_reason: Counter[str] = Counter()
        self.num_moved = 0
        self.input_sums, self.target_sums = BandSums(), BandSums()

    def add(self, commit: BucketCommit) -> None:
        self.pairs.append(pairs_table(commit.pairs))
        self.rejected.append(rejected_table(commit.rejected))
        self.files |= commit.files
        self.num_by_split.update(pair.split for pair in commit.pairs)
        self.num_by_reason.update(record.reason for record in commit.rejected)
        self.num_moved += sum(settled.split is not None for settled in commit.settled.values())
        self.input_sums = self.input_sums.merge(commit.input_sums)
        self.target_sums = self.target_sums.merge(commit.target_sums)

    def documents(self, others: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
        yield PAIRS_TABLE, to_parquet(self.pairs)
        yield REJECTED_TABLE, to_parquet(self.rejected)
        yield from others.items()


def _zarr_documents(spec: DatasetSpec, num_slots: int) -> dict[str, bytes]:
    encodings = {"input": encoding(spec.input_encoding), "target": encoding(spec.target_encoding)}
    return metadata_documents(num_slots, spec.height_px, spec.width_px, encodings, spec.layout.pairs_per_shard)


def _refuse_double_ids(pairs: Sequence[pa.Table]) -> None:
    counts = pa.chunked_array([part for table in pairs for part in table["pair_id"].chunks], pa.string()).value_counts()
    doubles = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(doubles):
        raise ValueError(f"The builder gave {len(doubles)} pair ids twice, {doubles[0]['values'].as_py()!r} for one")


def _sweep(root: Path, manifest: Manifest) -> None:
    """Remove what a killed writer left half-written."""
    with output_errors(root):
        for file in root.rglob("*"):
            if not file.is_dir() and file.relative_to(root).as_posix() not in manifest.files:
                file.unlink()
