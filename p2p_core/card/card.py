"""Write the card of a store's current version, unless it is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from p2p_core.card.about import About
from p2p_core.card.croissant import CROISSANT, croissant
from p2p_core.card.facts import rejected_shown
from p2p_core.card.pictures import pairs_picture, rejected_picture
from p2p_core.card.readme import PAIRS_PICTURE, REJECTED_PICTURE, REJECTED_SHOWN, readme
from p2p_core.evaluation.sheets import png_of
from p2p_core.files import canonical_json, sha256_bytes
from p2p_core.pairstore.manifest import read_manifest
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.versions import CARD, current_version, replace_card

__all__ = ["CARD_RECORD", "read_about", "write_card"]

CARD_RECORD = "card.json"
_CARD_VERSION = 1
"""To be raised when a change of code changes what cards say, so that the next build writes them anew."""


def write_card(store_path: Path, about: About) -> Path:
    """Make `store_path/card` describe the current version, or find that it does. The same store gives the same bytes.

    The caller holds the store's build lock. A card that is there costs no decoding.

    Raises:
        StoreError: the store is incomplete or damaged.
        OutputError: the card cannot be written; the store itself is whole.
    """
    made_from = {
        "card_version": _CARD_VERSION,
        "dataset": read_manifest(current_version(store_path)).digest,
        "about": about.model_dump(mode="json", exclude_none=True),
    }
    place = store_path / CARD
    if not _describes(place, made_from):
        files = card_files(PairStore.open(store_path), about)
        record = {**made_from, "files": {name: sha256_bytes(data) for name, data in sorted(files.items())}}
        replace_card(store_path, {**files, CARD_RECORD: canonical_json(record)})
    return place


def card_files(store: PairStore, about: About) -> dict[str, bytes]:
    """Every file of the card but its record, by name."""
    rejected = rejected_picture(rejected_shown(store, REJECTED_SHOWN), store.manifest.rejected)
    return {
        "README.md": readme(store, about, has_rejected_picture=rejected is not None).encode(),
        PAIRS_PICTURE: png_of(pairs_picture(store)),
        **({} if rejected is None else {REJECTED_PICTURE: png_of(rejected)}),
        CROISSANT: canonical_json(croissant(store, about)),
    }


def read_about(store_path: Path) -> About:
    """What the card there was given; nothing where there is no card."""
    return About.parse(_record(store_path / CARD).get("about", {}), where=str(store_path / CARD / CARD_RECORD))


def _describes(place: Path, made_from: dict[str, Any]) -> bool:
    record = _record(place)
    return {name: record.get(name) for name in made_from} == made_from and all(
        (place / name).is_file() for name in record.get("files", {})
    )


def _record(place: Path) -> dict[str, Any]:
    """Empty where there is no card, or none that can be read: either way it has to be written."""
    try:
        record = json.loads((place / CARD_RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
