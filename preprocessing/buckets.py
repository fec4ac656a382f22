"""One bucket's work, on whichever worker: its sources to pairs, the pairs to shards, by the cheapest way there is."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
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
from preprocessing.pairs import Outcome, Pair, PairBuilder, Rejected, SourceRef
from preprocessing.photos import read_photo, to_rgb
from preprocessing.split import SplitRule
from preprocessing.thumbnails import thumbnail

__all__ = ["BucketTask", "Origin", "add_pair", "build_bucket", "make_bucket", "make_buckets", "reject_item"]

Origin = Literal["built", "reused", "resumed"]

_NUM_THUMBNAILS = 4
"""So many rejected items of one reason have a thumbnail, in each bucket: enough to see why, whatever their number."""

_NUM_READERS = 2
"""Of pictures, beside each other. A network that takes part in making pairs has the cores to itself."""


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
    return _begun(task)()


def make_buckets(tasks: Iterable[BucketTask]) -> Iterator[Origin]:
    """`make_bucket` of each in turn, in this process: while the last pairs of one are compressed, the next is begun."""
    with ThreadPoolExecutor(1) as beside:
        latest: Future[Origin] | None = None
        for task in tasks:
            rest = _begun(task)
            if latest:
                yield latest.result()
            latest = beside.submit(rest)
        if latest:
            yield latest.result()


def build_bucket(task: BucketTask) -> None:
    """From its sources."""
    _read_sources(task)()


def _begun(task: BucketTask) -> Callable[[], Origin]:
    """All that has to be done one bucket after the other; the rest is what is returned."""
    cv2.setNumThreads(1)  # buckets are built beside each other and beside their compression: no core is left for its threads
    if read_bucket(task.root, task.bucket, task.key):
        return lambda: "resumed"
    known = read_bucket(task.current, task.bucket, task.key) if task.current else None
    if task.current and known:
        link_bucket(task.current, task.root, known)
        return lambda: "reused"
    return _read_sources(task)


def _read_sources(task: BucketTask) -> Callable[[], Origin]:
    """The writer's threads have begun with every pair; what is returned waits for them and commits."""
    shown: Counter[str] = Counter()
    assigned: list[Future[AssignedRecord]] = []
    with ExitStack() as unless_returned:
        writer = unless_returned.enter_context(BucketWriter(task.root, task.layout, task.bucket, task.key))
        for source, outcomes in _built(task):
            _add_source(task, source, outcomes, writer, shown, assigned)
        unless_returned.pop_all()
    return partial(_committed, writer, assigned)


def _committed(writer: BucketWriter, assigned: Sequence[Future[AssignedRecord]]) -> Origin:
    with writer:
        writer.commit(record.result() for record in assigned)
    return "built"


def _built(task: BucketTask) -> Iterator[tuple[SourceRef, Iterable[Outcome]]]:
    """Each source with what is made of it; two are read at once where each is a single picture."""
    if task.builder.detector_weights_sha256 is not None or any(source.max_pairs > 1 for source in task.sources):
        for source in task.sources:
            yield source, task.builder.build(source)
        return
    readers = ThreadPoolExecutor(_NUM_READERS)
    try:
        reading: deque[tuple[SourceRef, Future[list[Outcome]]]] = deque()
        for source in task.sources:
            # The whole list: a raster must be closed by the thread that opened it.
            reading.append((source, readers.submit(_listed, task.builder, source)))
            if len(reading) > _NUM_READERS:
                earliest, outcomes = reading.popleft()
                yield earliest, outcomes.result()
        for later, outcomes in reading:
            yield later, outcomes.result()
    finally:
        readers.shutdown(cancel_futures=True)


def _listed(builder: PairBuilder[Any], source: SourceRef) -> list[Outcome]:
    return list(builder.build(source))


def _add_source(
    task: BucketTask,
    source: SourceRef,
    outcomes: Iterable[Outcome],
    writer: BucketWriter,
    shown: Counter[str],
    assigned: list[Future[AssignedRecord]],
) -> None:
    num_pairs = 0
    for outcome in outcomes:
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
