"""What changed between two versions of a dataset, from their tables and manifests: no picture is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from p2p_core.config import Config
from p2p_core.errors import UsageError
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.manifest import DatasetSpec, Manifest
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord, RejectedRecord
from p2p_core.pairstore.versions import is_version, named_version, version_before

__all__ = [
    "ChangedPair",
    "ChangedSetting",
    "ComparedVersion",
    "MovedPair",
    "NamedPair",
    "Part",
    "RejectedItem",
    "StoreDiff",
    "diff_stores",
    "diff_versions",
    "open_both",
]

Part = Literal["input", "target", "source", "window", "attributes"]

_PARTS: Mapping[Part, Callable[[PairRecord], object]] = {
    "input": lambda pair: pair.input_sha256,
    "target": lambda pair: pair.target_sha256,
    "source": lambda pair: pair.source_id,
    "window": lambda pair: pair.window,
    "attributes": lambda pair: dict(pair.attributes),
}


class ComparedVersion(Config):
    """One side. `counts`: pairs by split."""

    path: Path
    digest: str
    counts: dict[str, int]


class NamedPair(Config):
    """A pair that only one of the versions has, and its split there."""

    pair_id: str
    split: str


class ChangedPair(Config):
    """A pair of both versions that is not the same in `parts`. `split`: in the later version."""

    pair_id: str
    split: str
    parts: tuple[Part, ...]


class MovedPair(Config):
    """A pair of both versions that is in another split, or under another id, or both."""

    pair_id: str
    split: str
    was_id: str
    was_split: str


class RejectedItem(Config):
    """An item that one of the versions leaves out, and why."""

    source_id: str
    item: str
    reason: str
    detail: str


class ChangedSetting(Config):
    """A value of the builder, its parameters, the split rule, the encodings or the layout; None where there is none.

    `name` has dots between its groups: `parameters.resize_px`.
    """

    name: str
    before: Any
    after: Any


class StoreDiff(Config):
    """What changed from `before` to `after`, each list in order of ids.

    Attributes:
        added, removed: pairs that only the later, the earlier version has.
        changed: the same id with other content. A pair can be moved too.
        moved: in another split. Also found where the id changed with it, as the ids of pictures in train/ and val/ do: where
            exactly one removed and one added pair have the same two pictures.
        renamed: found that way within one split.
        rejected, no_longer_rejected: an item whose reason changed is in both.
        num_unchanged: pairs that are in no list above.
    """

    before: ComparedVersion
    after: ComparedVersion
    settings: tuple[ChangedSetting, ...]
    added: tuple[NamedPair, ...]
    removed: tuple[NamedPair, ...]
    changed: tuple[ChangedPair, ...]
    moved: tuple[MovedPair, ...]
    renamed: tuple[MovedPair, ...]
    rejected: tuple[RejectedItem, ...]
    no_longer_rejected: tuple[RejectedItem, ...]
    num_unchanged: int

    @property
    def is_empty(self) -> bool:
        """The same pairs in the same splits, the same rejections, the same settings. Digests may differ, for they also cover
        the sources' files: the same picture saved anew is another file."""
        pairs = (*self.added, *self.removed, *self.changed, *self.moved, *self.renamed)
        return not (pairs or self.settings or self.rejected or self.no_longer_rejected)


def diff_stores(before: Path, after: Path | None = None) -> StoreDiff:
    """Of two stores or versions, or of one store's: see `open_both`, which also says what it raises."""
    return diff_versions(*open_both(before, after))


def open_both(before: Path, after: Path | None = None) -> tuple[PairStore, PairStore]:
    """Two stores or versions (a directory, or `STORE@VERSION`); of one store: the version before, and its current one.

    Raises:
        StoreError: one is no complete store, or the only one has one version.
        UsageError: a single version and nothing to compare it with.
    """
    if after is not None:
        return PairStore.open(before), PairStore.open(after)
    if is_version(named_version(before)):
        raise UsageError(f"{before} is one version", remedy="Give the store, or a second version to compare it with")
    return PairStore.open(version_before(before)), PairStore.open(before)


def diff_versions(before: PairStore, after: PairStore) -> StoreDiff:
    """Raises `StoreError` where a table is damaged."""
    was, now = ({pair.pair_id: pair for pair in store.pairs} for store in (before, after))
    old_ids = _same_pictures([was[i] for i in was.keys() - now.keys()], [now[i] for i in now.keys() - was.keys()])
    kept = [(was[old_ids.get(i, i)], now[i]) for i in sorted(now) if old_ids.get(i, i) in was]
    changed = [(old, new, parts) for old, new in kept if old.pair_id == new.pair_id and (parts := _changed_parts(old, new))]
    moved = [(old, new) for old, new in kept if old.split != new.split]
    renamed = [(old, new) for old, new in kept if old.split == new.split and old.pair_id != new.pair_id]
    touched = {new.pair_id for _, new in (*moved, *renamed)} | {new.pair_id for _, new, _ in changed}
    old_rejected, new_rejected = (_items(store.rejected) for store in (before, after))
    return StoreDiff(
        before=_side(before),
        after=_side(after),
        settings=tuple(_changed_settings(before.manifest, after.manifest)),
        added=_named(now[i] for i in now.keys() - was.keys() - old_ids.keys()),
        removed=_named(was[i] for i in was.keys() - now.keys() - set(old_ids.values())),
        changed=tuple(ChangedPair(pair_id=new.pair_id, split=new.split, parts=parts) for _, new, parts in changed),
        moved=tuple(_move(old, new) for old, new in moved),
        renamed=tuple(_move(old, new) for old, new in renamed),
        rejected=tuple(item for key, item in new_rejected.items() if key not in old_rejected),
        no_longer_rejected=tuple(item for key, item in old_rejected.items() if key not in new_rejected),
        num_unchanged=len(kept) - len(touched),
    )


def _same_pictures(removed: Iterable[PairRecord], added: Iterable[PairRecord]) -> dict[str, str]:
    """New id -> old id where one removed and one added pair, and no third, have the same two pictures."""
    old, new = _by_pictures(removed), _by_pictures(added)
    return {new[key][0]: old[key][0] for key in old.keys() & new.keys() if len(old[key]) == len(new[key]) == 1}


def _by_pictures(pairs: Iterable[PairRecord]) -> dict[tuple[str, str], list[str]]:
    ids: dict[tuple[str, str], list[str]] = {}
    for pair in pairs:
        ids.setdefault((pair.input_sha256, pair.target_sha256), []).append(pair.pair_id)
    return ids


def _changed_parts(old: PairRecord, new: PairRecord) -> tuple[Part, ...]:
    return tuple(part for part, value in _PARTS.items() if value(old) != value(new))


def _named(pairs: Iterable[PairRecord]) -> tuple[NamedPair, ...]:
    return tuple(NamedPair(pair_id=p.pair_id, split=p.split) for p in sorted(pairs, key=lambda pair: pair.pair_id))


def _move(old: PairRecord, new: PairRecord) -> MovedPair:
    return MovedPair(pair_id=new.pair_id, split=new.split, was_id=old.pair_id, was_split=old.split)


def _items(records: Iterable[RejectedRecord]) -> dict[tuple[object, ...], RejectedItem]:
    """By what makes a rejection the same one: the words of its detail may change."""
    return {
        (r.source_id, r.item, r.window, r.reason): RejectedItem(
            source_id=r.source_id, item=r.item, reason=r.reason, detail=r.detail
        )
        for r in records
    }


def _changed_settings(before: Manifest, after: Manifest) -> Iterator[ChangedSetting]:
    old, new = (dict(_flat(_spec(manifest))) for manifest in (before, after))
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield ChangedSetting(name=name, before=old.get(name), after=new.get(name))


def _spec(manifest: Manifest) -> dict[str, Any]:
    return manifest.model_dump(mode="json", include=set(DatasetSpec.model_fields))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _side(store: PairStore) -> ComparedVersion:
    counts = {split: store.manifest.counts[split] for split in SPLITS}
    return ComparedVersion(path=store.version_path, digest=store.manifest.digest, counts=counts)
