"""Build a dataset: sources to buckets, buckets to workers, a new version at the end.

The same sources and parameters give the same bytes with any executor. Buckets whose sources did not change are linked
from the current version; a killed build resumes with the buckets it had finished; nothing to do means nothing decoded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from p2p_core.config import Config
from p2p_core.digests import remembered_digests
from p2p_core.errors import EmptySourceError, StoreError
from p2p_core.executor import Executor
from p2p_core.pairstore.assemble import assemble_version
from p2p_core.pairstore.layout import SPLITS, StoreLayout, bucket_path
from p2p_core.pairstore.manifest import DatasetSpec, Manifest, build_key, read_manifest
from p2p_core.pairstore.schema import SourceRecord
from p2p_core.pairstore.verify import file_problems, version_problems
from p2p_core.pairstore.versions import (
    DIGESTS,
    Admit,
    build_lock,
    building_path,
    current_or_none,
    find_version,
    publish,
    set_current,
    sweep_building,
)
from p2p_core.pairstore.writer import BucketCommit, read_commit
from p2p_core.progress import Progress
from preprocessing.buckets import BucketTask, Origin, make_bucket, make_buckets
from preprocessing.drift import StoreDrift
from preprocessing.pairs import PairBuilder, SourceRef
from preprocessing.settle import Survey, settle
from preprocessing.split import SplitRule

__all__ = ["BuildSummary", "build_dataset"]


class BuildSummary(Config):
    """What a build did. `unchanged`: the store already held exactly this, so nothing was decoded or written.

    `num_moved`: pairs that went to the split of a near duplicate.
    `drift`: from the version that was current before, where that was asked for and there was one.
    `hints`: what may be wrong although nothing is bad, and what to set then.
    """

    version_path: Path
    digest: str
    counts: dict[str, int]
    rejected: dict[str, int]
    num_moved: int
    num_buckets_built: int
    num_buckets_reused: int
    num_buckets_resumed: int
    unchanged: bool
    elapsed_s: float
    drift: StoreDrift | None = None
    hints: tuple[str, ...] = ()


def build_dataset(
    builder: PairBuilder[Any],
    out: Path,
    split_rule: SplitRule,
    *,
    layout: StoreLayout | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
    admit: Admit | None = None,
    describe: Callable[[Path], object] | None = None,
) -> BuildSummary:
    """Build a version of the store at `out` and make it current.

    Args:
        executor: where buckets are built; this process, one by one, unless given. Workers see the same files.
        progress: told the number of finished buckets, of `layout.num_buckets`.
        admit: asked before another version becomes current; where it raises, the new one is kept but not current.
        describe: called last with `out`, also where nothing changed, before another build may begin there.

    Raises:
        EmptySourceError: there is nothing to build from, or every item was rejected.
        OutputError: `out` is read-only, full, in use or something else. What was finished is kept for the next run.
        P2PError: the sources do not fit together, as the builder says.
    """
    started_s = time.monotonic()
    with remembered_digests(out / DIGESTS) as digests:
        sources = _ordered(builder.sources())
        with build_lock(out):
            work = _Work(builder, out, split_rule, layout or StoreLayout(), sources)
            known = find_version(out, work.build_key)
            if known is not None and not any(version_problems(known[0])):
                version, manifest = known
                unchanged, origins = work.return_to(version, admit), work.all_reused()
            else:
                unchanged, origins = False, work.run(executor, progress)
                version, manifest = work.finish(executor, admit)
                for name, entry in manifest.files.items():
                    digests.note(version / name, entry.sha256)
            if describe:
                describe(out)
            digests.save()
    return _summary(version, manifest, origins, started_s, unchanged=unchanged)


class _Work:
    """One build: its tasks, its keys and its directory."""

    def __init__(
        self,
        builder: PairBuilder[Any],
        out: Path,
        split_rule: SplitRule,
        layout: StoreLayout,
        sources: Sequence[SourceRef],
    ) -> None:
        self.out, self.layout = out, layout
        self._builder, self._split_rule = builder, split_rule
        self.spec = _spec(builder, split_rule, layout)
        self._buckets: dict[int, list[SourceRef]] = {}
        for source in sources:
            self._buckets.setdefault(layout.bucket_of(source.source_id), []).append(source)
        self._keys = {
            bucket: self.spec.bucket_key({s.source_id: s.digest for s in members}) for bucket, members in self._buckets.items()
        }
        self.num_slots = layout.num_slots(sum(s.max_pairs for s in members) for members in self._buckets.values())
        self.build_key = build_key(self._keys.values(), self.num_slots)
        self.root = building_path(out, self.build_key)

    @cached_property
    def tasks(self) -> list[BucketTask]:
        """One a bucket that is not empty."""
        current = current_or_none(self.out)
        intact = dict.fromkeys(_intact_records(current, self._buckets), current) if current else {}
        begun = partial(BucketTask, self._builder, self._split_rule, self.layout)
        return [
            begun(bucket, key, tuple(self._buckets[bucket]), self.root, intact.get(bucket))
            for bucket, key in sorted(self._keys.items())
        ]

    def all_reused(self) -> list[Origin]:
        return ["reused"] * len(self._keys)

    def run(self, executor: Executor | None, progress: Progress | None) -> list[Origin]:
        """Make every bucket; say where each came from."""
        origins: list[Origin] = []
        num_empty = self.layout.num_buckets - len(self.tasks)
        if progress:
            progress.update(num_empty, "0 reused")
        for origin in executor.map(make_bucket, self.tasks) if executor else make_buckets(self.tasks):
            origins.append(origin)
            if progress:
                progress.update(num_empty + len(origins), f"{origins.count('reused') + origins.count('resumed')} reused")
        return origins

    def finish(self, executor: Executor | None, admit: Admit | None) -> tuple[Path, Manifest]:
        self.root = self._settled(executor)
        records = (SourceRecord(s.source_id, s.digest, s.files) for task in self.tasks for s in task.sources)
        key, num_slots = self.build_key, self.num_slots
        manifest = assemble_version(self.root, self.spec, records, self._commits(), build_key=key, num_slots=num_slots)
        return publish(self.out, self.root, manifest, admit), manifest

    def _settled(self, executor: Executor | None) -> Path:
        survey = Survey.of(self._commits())
        _refuse_nothing(survey)
        return settle(self.tasks, survey, executor)

    def _commits(self) -> Iterator[BucketCommit]:
        """Of every bucket in turn, read when it is asked for: a record takes some kilobytes a pair."""
        return (_committed(self.root, bucket, key) for bucket, key in sorted(self._keys.items()))

    def return_to(self, version: Path, admit: Admit | None) -> bool:
        """A version that was made before is what is asked for: point to it. Whether it was current."""
        sweep_building(self.out, self.build_key)
        unchanged = current_or_none(self.out) == version
        if not unchanged:
            set_current(self.out, version, admit)
        return unchanged


def _intact_records(version: Path, buckets: Iterable[int]) -> set[int]:
    """Buckets of a version whose record is as its manifest says: a record proves the other files, the manifest the record."""
    try:
        files = read_manifest(version).files
    except StoreError:
        return set()
    records = {bucket_path(bucket): bucket for bucket in buckets if bucket_path(bucket) in files}
    damaged = {problem.path for problem in file_problems(version, {name: files[name] for name in records})}
    return {bucket for name, bucket in records.items() if name not in damaged}


def _committed(root: Path, bucket: int, key: str) -> BucketCommit:
    commit = read_commit(root, bucket, key)
    if commit is None:
        raise StoreError(
            f"Bucket {bucket} of {root} is not there although a worker finished it",
            remedy="See that workers write to the same file system as this process, then run the same build again",
        )
    return commit


def _ordered(sources: Iterable[SourceRef]) -> list[SourceRef]:
    ordered = sorted(sources, key=lambda source: source.source_id)
    ids = {source.source_id for source in ordered}
    if len(ids) != len(ordered):
        raise ValueError("The builder gave two sources the same id")
    return ordered


def _spec(builder: PairBuilder[Any], split_rule: SplitRule, layout: StoreLayout) -> DatasetSpec:
    height_px, width_px = builder.size_px()
    return DatasetSpec(
        builder=builder.name,
        builder_version=builder.version,
        parameters=builder.parameters.model_dump(mode="json"),
        split_rule=split_rule.model_dump(mode="json"),
        input_encoding=builder.input_encoding,
        target_encoding=builder.target_encoding,
        height_px=height_px,
        width_px=width_px,
        layout=layout,
        detector_weights_sha256=builder.detector_weights_sha256,
    )


def _refuse_nothing(survey: Survey) -> None:
    if survey.num_pairs:
        return
    if not (first := survey.first_rejected):
        raise EmptySourceError("The sources hold no pair", remedy="Check that they are as large as the tiles asked for")
    raise EmptySourceError(
        f"Every one of {survey.num_rejected} items was rejected; {first.item}, for one: {first.detail}",
        remedy="Mend the sources, or change the builder's parameters or the split",
    )


def _summary(
    version: Path, manifest: Manifest, origins: Sequence[Origin], started_s: float, *, unchanged: bool
) -> BuildSummary:
    return BuildSummary(
        version_path=version,
        digest=manifest.digest,
        counts={split: manifest.counts[split] for split in SPLITS},
        rejected=manifest.rejected,
        num_moved=manifest.num_moved,
        num_buckets_built=origins.count("built"),
        num_buckets_reused=origins.count("reused"),
        num_buckets_resumed=origins.count("resumed"),
        unchanged=unchanged,
        elapsed_s=time.monotonic() - started_s,
    )
