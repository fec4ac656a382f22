"""One bucket's work, on whichever worker: its sources to pairs, the pairs to shards, by the cheapest way there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import RasterError
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.schema import AssignedRecord, RejectedRecord
from p2p_core.pairstore.writer import BucketWriter, link_bucket, read_bucket
from preprocessing.near_duplicates import fingerprint
from preprocessing.pairs import Pair, PairBuilder, Rejected, SourceRef
from preprocessing.photos import read_photo, to_rgb
from preprocessing.split import SplitRule
from preprocessing.thumbnails import thumbnail

__all__ = ["BucketTask", "Origin", "add_pair", "build_bucket", "make_bucket", "reject_item"]

Origin = Literal["built", "reused", "resumed"]

_NUM_THUMBNAILS = 4
"""So many rejected items of one reason have a thumbnail, in each bucket: enough to see why, whatever their number."""


@dataclass(frozen=True)
class BucketTask:
    """Only paths, ids and digests travel to a worker.

    Attributes:
        root: of the version that is being built.
        current: the store's current version, whose bucket is taken over if it was made from the same; None where there is none,
            or its record of this bucket is damaged.
    """

    builder: PairBuilder[Any]
    split_rule: SplitRule
    layout: StoreLayout
    bucket: int
    key: str
    sources: tuple[SourceRef, ...]
    root: Path
    current: Path | None


def make_bucket(task: BucketTask) -> Origin:
    """Leave a committed bucket under `task.root`."""
    cv2.setNumThreads(1)  # buckets are built beside each other and beside their compression: no core is left for its threads
    if read_bucket(task.root, task.bucket, task.key):
        return "resumed"
    known = read_bucket(task.current, task.bucket, task.key) if task.current else None
    if task.current and known:
        link_bucket(task.current, task.root, known)
        return "reused"
    build_bucket(task)
    return "built"


def build_bucket(task: BucketTask) -> None:
    """From its sources."""
    shown: Counter[str] = Counter()
    assigned: list[Future[AssignedRecord]] = []
    with BucketWriter(task.root, task.layout, task.bucket, task.key) as writer:
        for source in task.sources:
            _build_source(task, source, writer, shown, assigned)
        writer.commit(record.result() for record in assigned)


def _build_source(
    task: BucketTask, source: SourceRef, writer: BucketWriter, shown: Counter[str], assigned: list[Future[AssignedRecord]]
) -> None:
    num_pairs = 0
    for outcome in task.builder.build(source):
        if isinstance(outcome, Pair):
            split = task.split_rule.assign(outcome)
            if isinstance(split, str):
                num_pairs += 1
                add_pair(writer, split, outcome)
                if task.split_rule.near_duplicates != "keep":
                    assigned.append(writer.beside(_assigned, task.builder, outcome, split))
                continue
            outcome = Rejected.of_pair(outcome, split.reason, split.detail)
        reject_item(writer, task.builder, outcome, shown)
    if num_pairs > source.max_pairs:
        raise ValueError(f"Source {source.source_id!r} gave {num_pairs} pairs, more than its max_pairs {source.max_pairs}")


def _assigned(builder: PairBuilder[Any], pair: Pair, split: str) -> AssignedRecord:
    seen = fingerprint(*_shown(builder, (pair.input_HWC, pair.target_HWC)))
    return AssignedRecord(pair.pair_id, pair.source_id, split, seen)


def add_pair(writer: BucketWriter, split: str, pair: Pair) -> None:
    writer.add(
        split,
        pair.source_id,
        pair.pair_id,
        pair.input_HWC,
        pair.target_HWC,
        window=pair.window,
        attributes=pair.attributes,
    )


def reject_item(writer: BucketWriter, builder: PairBuilder[Any], item: Rejected, shown: Counter[str]) -> None:
    """With a thumbnail if something is to be seen and not enough of its reason are in `shown`, which counts it."""
    shown[item.reason] += 1
    pictures = _pictures(builder, item) if shown[item.reason] <= _NUM_THUMBNAILS else []
    picture = thumbnail(pictures) if pictures else None
    writer.reject(RejectedRecord(item.source_id, item.item, item.reason, item.detail, item.window, thumbnail=picture))


def _pictures(builder: PairBuilder[Any], item: Rejected) -> list[NDArray[np.uint8]]:
    """What there is to be seen of a rejected item, as RGB; nothing where no file of it can be read."""
    if len(item.pictures) == 2:
        return _shown(builder, item.pictures)
    pictures = list(item.pictures)
    for path in item.seen_in:
        try:
            pictures.append(to_rgb(read_photo(path)).clip(0, 255).astype(np.uint8))
        except RasterError:  # most often the reason for its rejection
            continue
    return pictures


def _shown(builder: PairBuilder[Any], pictures: Sequence[NDArray[Any]]) -> list[NDArray[np.uint8]]:
    """(input, target) as RGB."""
    names = builder.input_encoding, builder.target_encoding
    return [encoding(name).to_rgb(pixels_HWC) for name, pixels_HWC in zip(names, pictures, strict=True)]
