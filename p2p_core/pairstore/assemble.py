"""From finished buckets to a complete version: tables, Zarr metadata, and the manifest last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

from p2p_core.encodings import encoding
from p2p_core.files import canonical_json, output_errors, write_atomic
from p2p_core.pairstore.layout import SPLITS, bucket_path
from p2p_core.pairstore.manifest import MANIFEST, BandStatistics, BandSums, DatasetSpec, FileEntry, Manifest
from p2p_core.pairstore.schema import (
    PAIRS_TABLE,
    REJECTED_TABLE,
    SOURCES_TABLE,
    SourceRecord,
    pairs_to_parquet,
    rejected_to_parquet,
    sources_to_parquet,
)
from p2p_core.pairstore.shards import metadata_documents
from p2p_core.pairstore.writer import BucketCommit, commit_bytes

__all__ = ["assemble_version"]


def assemble_version(
    root: Path,
    spec: DatasetSpec,
    sources: Sequence[SourceRecord],
    commits: Sequence[BucketCommit],
    *,
    build_key: str,
    num_slots: int,
) -> Manifest:
    """Complete the version under `root`, whose buckets are all committed. Running it again writes the same bytes.

    Raises:
        OutputError: the disk is full or the place is read-only.
    """
    pairs = [pair for commit in commits for pair in commit.pairs]
    rejected = [record for commit in commits for record in commit.rejected]
    _refuse_double_ids([pair.pair_id for pair in pairs])
    documents = {
        PAIRS_TABLE: pairs_to_parquet(pairs),
        REJECTED_TABLE: rejected_to_parquet(rejected),
        SOURCES_TABLE: sources_to_parquet(sources),
        **_zarr_documents(spec, num_slots),
    }
    for name, data in documents.items():
        write_atomic(root / name, data)
    files = {name: FileEntry.of(data) for name, data in documents.items()}
    for commit in commits:
        files |= {**commit.files, bucket_path(commit.bucket): FileEntry.of(commit_bytes(commit))}
    num_by_split = Counter(pair.split for pair in pairs)
    manifest = Manifest.complete(
        spec,
        build_key=build_key,
        num_slots=num_slots,
        num_sources=len(sources),
        counts={split: num_by_split[split] for split in SPLITS},
        rejected=dict(sorted(Counter(record.reason for record in rejected).items())),
        num_moved=sum(settled.split is not None for commit in commits for settled in commit.settled.values()),
        input_statistics=BandStatistics.from_sums(reduce(BandSums.merge, (c.input_sums for c in commits), BandSums())),
        target_statistics=BandStatistics.from_sums(reduce(BandSums.merge, (c.target_sums for c in commits), BandSums())),
        files=dict(sorted(files.items())),
    )
    _sweep(root, manifest)
    write_atomic(root / MANIFEST, canonical_json(manifest.model_dump(mode="json")))
    return manifest


def _zarr_documents(spec: DatasetSpec, num_slots: int) -> dict[str, bytes]:
    encodings = {"input": encoding(spec.input_encoding), "target": encoding(spec.target_encoding)}
    return metadata_documents(num_slots, spec.height_px, spec.width_px, encodings, spec.layout.pairs_per_shard)


def _refuse_double_ids(pair_ids: list[str]) -> None:
    doubles = [pair_id for pair_id, count in Counter(pair_ids).items() if count > 1]
    if doubles:
        raise ValueError(f"The builder gave {len(doubles)} pair ids twice, {doubles[0]!r} for one")


def _sweep(root: Path, manifest: Manifest) -> None:
    """Remove what a killed writer left half-written."""
    with output_errors(root):
        for file in root.rglob("*"):
            if not file.is_dir() and file.relative_to(root).as_posix() not in manifest.files:
                file.unlink()
