"""What a card says of a store, from its manifest and tables: no picture is decoded."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from p2p_core.card.about import About
from p2p_core.encodings import encoding
from p2p_core.files import sha256_json
from p2p_core.pairstore.manifest import Manifest
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import PairRecord, RejectedRecord, SourceRecord

__all__ = [
    "Attribute",
    "Band",
    "attributes",
    "both_bands",
    "rejected_shown",
    "settings",
    "size_mb",
    "sources_digest",
    "spread",
    "title",
]

T = TypeVar("T")
_VALUES_SHOWN = 8


@dataclass(frozen=True)
class Attribute:
    """An attribute of pairs: how many have it, and what values, as a sentence."""

    name: str
    num_pairs: int
    text: str


@dataclass(frozen=True)
class Band:
    """Of the training split, in grey levels of 0..255."""

    name: str
    mean: float
    std: float


def title(manifest: Manifest, about: About) -> str:
    """The title given, or one that says what the pairs are."""
    return about.title or (
        f"Pairs of {manifest.builder}: {manifest.input_encoding} to {manifest.target_encoding}, "
        f"{manifest.width_px} x {manifest.height_px} px"
    )


def attributes(pairs: Iterable[PairRecord]) -> tuple[Attribute, ...]:
    """Every attribute that builders gave to pairs, by name: sums of what they counted, counts of what they named."""
    values: dict[str, list[str]] = {}
    for pair in pairs:
        for name, value in pair.attributes.items():
            values.setdefault(name, []).append(value)
    return tuple(Attribute(name, len(given), _summary(given)) for name, given in sorted(values.items()))


def _summary(values: Sequence[str]) -> str:
    if len(set(values)) == 1:
        return f"always {values[0]}"
    numbers = [_number(value) for value in values]
    if all(map(math.isfinite, numbers)):
        told = f"{_text(min(numbers))} to {_text(max(numbers))}, mean {_text(math.fsum(numbers) / len(numbers))}"
        num_zero = numbers.count(0)
        return f"{told}, {_text(math.fsum(numbers))} in all" + (f"; 0 in {num_zero:,} of {len(numbers):,}" if num_zero else "")
    counts = Counter(values)
    if len(counts) > _VALUES_SHOWN:
        return f"{len(counts):,} different values, {min(counts)} for one"
    return ", ".join(f"{value} ({count:,})" for value, count in sorted(counts.items()))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _text(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) or abs(number) >= 1000 else f"{number:.4g}"


def both_bands(manifest: Manifest) -> tuple[tuple[str, Band], ...]:
    """(`input` or `target`, band) in their order; none where the training split is empty."""
    sides = (
        ("input", manifest.input_statistics, manifest.input_encoding),
        ("target", manifest.target_statistics, manifest.target_encoding),
    )
    return tuple(
        (side, Band(*values))
        for side, statistics, name in sides
        if statistics
        for values in zip(encoding(name).band_names, statistics.mean, statistics.std, strict=True)
    )


def rejected_shown(store: PairStore, most: int) -> dict[str, list[RejectedRecord]]:
    """Reason -> its first items, at most `most`, in the order of the store's table; those with a picture go first."""
    shown: dict[str, list[RejectedRecord]] = {reason: [] for reason in sorted(store.manifest.rejected)}
    for record in sorted(store.rejected, key=lambda record: record.thumbnail is None):
        if len(shown[record.reason]) < most:
            shown[record.reason].append(record)
    return shown


def spread(items: Sequence[T], most: int) -> list[T]:
    """At most `most` of them at even distances, the first and the last among them: the same ones every time."""
    if len(items) <= most:
        return list(items)
    return [items[i * (len(items) - 1) // max(1, most - 1)] for i in range(most)]


def sources_digest(sources: Iterable[SourceRecord]) -> str:
    """One sha256 over the digests of all sources."""
    return sha256_json({source.source_id: source.digest for source in sources})


def size_mb(manifest: Manifest) -> float:
    """Of a version's files, in 10^6 bytes."""
    return sum(entry.size_bytes for entry in manifest.files.values()) / 1e6


def settings(manifest: Manifest) -> dict[str, str]:
    """The builder and every setting that shaped the dataset, with dots between groups."""
    return {
        "builder": f"{manifest.builder}, version {manifest.builder_version}",
        **_flat(manifest.parameters, "parameters."),
        **_flat(manifest.split_rule, "split_rule."),
        **_flat(manifest.layout.model_dump(), "layout."),
        "schema_version": str(manifest.schema_version),
    }


def _flat(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    rows: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{prefix}{name}.")
        else:
            rows[f"{prefix}{name}"] = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else _setting(value)
    return rows


def _setting(value: Any) -> str:
    return "none" if value is None else str(value)
