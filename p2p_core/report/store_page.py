"""`STORE/card/report.html`: a pair store on one page: some pairs, what was rejected and why, and how it was built.

The same store gives the same bytes: the page carries no time and no path of its own.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from p2p_core.card.about import About
from p2p_core.card.card import read_about
from p2p_core.card.facts import (
    Attribute,
    Band,
    attributes,
    both_bands,
    rejected_shown,
    settings,
    size_mb,
    sources_digest,
    title,
)
from p2p_core.card.pictures import pairs_picture
from p2p_core.files import write_atomic
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.manifest import Manifest
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import RejectedRecord
from p2p_core.pairstore.versions import CARD, current_version
from p2p_core.report.page import REPORT, KeyFact
from p2p_core.report.pictures import Picture, picture
from p2p_core.report.templates import template

__all__ = ["write_store_report"]

SHOWN = 30
"""Items shown of each reason."""


@dataclass(frozen=True)
class Item:
    name: str
    detail: str
    picture: Picture | None = None


@dataclass(frozen=True)
class Reason:
    """A reason with some of its items: those with a picture, and those without."""

    name: str
    count: int
    pictured: tuple[Item, ...]
    listed: tuple[Item, ...]

    @property
    def num_more(self) -> int:
        return self.count - len(self.pictured) - len(self.listed)


@dataclass(frozen=True)
class StorePage:
    """What the template shows."""

    title: str
    description: str
    key_facts: tuple[KeyFact, ...]
    pairs: Picture
    reasons: tuple[Reason, ...]
    bands: tuple[tuple[str, Band], ...]
    attributes: tuple[Attribute, ...]
    identity: Mapping[str, str]
    settings: Mapping[str, str]

    @property
    def num_rejected(self) -> int:
        return sum(reason.count for reason in self.reasons)


def write_store_report(store_path: Path) -> Path:
    """Write the page about the store's current version beside its card, and return its path.

    Raises:
        StoreError: the store is incomplete or damaged.
        OutputError: the page cannot be written.
    """
    page = gather(PairStore.open(current_version(store_path)), read_about(store_path))
    path = store_path / CARD / REPORT
    write_atomic(path, template("store.html").render(page=page).encode())
    return path


def gather(store: PairStore, about: About) -> StorePage:
    manifest = store.manifest
    return StorePage(
        title=title(manifest, about),
        description=about.description or "",
        key_facts=key_facts(manifest, about),
        pairs=picture(pairs_picture(store), "Some pairs of each split, input beside target, with their names"),
        reasons=reasons(store),
        bands=both_bands(manifest),
        attributes=attributes(store.pairs),
        identity={
            "version": store.version_path.name,
            "digest (sha256)": manifest.digest,
            "sources": f"{manifest.num_sources:,}",
            "digest of their digests": sources_digest(store.sources),
            **({"weights (sha256)": manifest.detector_weights_sha256} if manifest.detector_weights_sha256 else {}),
        },
        settings=settings(manifest),
    )


def key_facts(manifest: Manifest, about: About) -> tuple[KeyFact, ...]:
    """The few numbers at the top."""
    counts = ", ".join(f"{manifest.counts[split]:,} {split}" for split in SPLITS)
    moved = f"; {manifest.num_moved:,} moved beside near duplicates" if manifest.num_moved else ""
    size = f"{manifest.width_px} x {manifest.height_px} px"
    return (
        KeyFact("Pairs", f"{sum(manifest.counts.values()):,}", counts + moved),
        KeyFact("Rejected", f"{sum(manifest.rejected.values()):,}", ", ".join(manifest.rejected) or "nothing"),
        KeyFact("Each picture", size, f"{manifest.input_encoding} to {manifest.target_encoding}"),
        KeyFact("On disk", f"{size_mb(manifest):,.1f} MB", f"{len(manifest.files):,} files"),
        KeyFact("Licence", about.licence or "unknown", about.creator or "no creator given"),
    )


def reasons(store: PairStore) -> tuple[Reason, ...]:
    """Every reason, the most frequent first."""
    found = []
    for name, records in rejected_shown(store, SHOWN).items():
        items = [_item(record) for record in records]
        pictured, listed = (tuple(i for i in items if bool(i.picture) is with_picture) for with_picture in (True, False))
        found.append(Reason(name, store.manifest.rejected[name], pictured, listed))
    return tuple(sorted(found, key=lambda reason: (-reason.count, reason.name)))


def _item(record: RejectedRecord) -> Item:
    shown = _thumbnail(record.thumbnail, f"Rejected: {record.item}") if record.thumbnail else None
    return Item(record.item, record.detail, shown)


def _thumbnail(jpeg: bytes, alt: str) -> Picture:
    with Image.open(io.BytesIO(jpeg)) as image:
        width_px, height_px = image.size
    return Picture(f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}", width_px, height_px, alt)
