"""Write the card of a store's current version, unless it is there, and see whether it is still as it was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from p2p_core.card.about import About
from p2p_core.card.croissant import CROISSANT, croissant
from p2p_core.card.facts import rejected_shown
from p2p_core.card.pictures import pairs_picture, rejected_picture
from p2p_core.card.readme import PAIRS_PICTURE, REJECTED_PICTURE, REJECTED_SHOWN, readme
from p2p_core.evaluation.sheets import png_of
from p2p_core.files import Problem, canonical_json, sha256_bytes, sha256_file, sha256_json
from p2p_core.pairstore.manifest import read_manifest, version_name
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.versions import CARD, build_lock, current_or_none, current_version, replace_card

__all__ = ["CARD_RECORD", "card_problems", "mend_card", "read_about", "write_card"]

CARD_RECORD = "card.json"
_CARD_VERSION, _UNSIGNED_VERSION = 2, 1
"""To be raised when a change of code changes what cards say, so that the next build writes them anew. The first version's
records had no digest of their own."""


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
        signed = {**record, "digest": sha256_json(record)}
        replace_card(store_path, {**files, CARD_RECORD: canonical_json(signed)})
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
    return {name: record.get(name) for name in made_from} == made_from and not list(_file_problems(place, record))


def card_problems(store_path: Path) -> list[Problem]:
    """The files of the card that are not what was written, with the command that writes them again; a card may be absent."""
    place = store_path / CARD
    if not place.is_dir():
        return []
    record, current = _record(place), current_or_none(store_path)
    problems = list(_file_problems(place, record))
    if record and current is not None and version_name(record.get("dataset", "")) != current.name:
        problems.append(Problem(CARD_RECORD, "is of another version than the current one"))
    remedy = f"`p2p report {store_path}` writes it again"
    return [Problem(f"{CARD}/{problem.path}", f"{problem.what}; {remedy}") for problem in problems]


def mend_card(store_path: Path) -> None:
    """Write the card again where it is not what was written, or not there. Raises as `write_card` and `build_lock`."""
    if card_problems(store_path) or not (store_path / CARD / CARD_RECORD).exists():
        with build_lock(store_path):
            write_card(store_path, read_about(store_path))


def _file_problems(place: Path, record: dict[str, Any]) -> Iterator[Problem]:
    if not record:
        yield Problem(CARD_RECORD, "is missing or damaged")
    for name, sha256 in record.get("files", {}).items():
        if not (place / name).is_file():
            yield Problem(name, "is missing")
        elif sha256_file(place / name) != sha256:
            yield Problem(name, "holds other bytes than were written")


def _record(place: Path) -> dict[str, Any]:
    """Empty where there is no card, or its record is not what was written: either way it has to be written."""
    try:
        record = json.loads((place / CARD_RECORD).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict):
        return {}
    unsigned = {name: value for name, value in record.items() if name != "digest"}
    is_signed = record.get("card_version") != _UNSIGNED_VERSION
    return {} if is_signed and record.get("digest") != sha256_json(unsigned) else record
