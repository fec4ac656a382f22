"""File names of pairs, safe on every file system and in a web address, and unique whatever the ids are.

ASCII letters, digits, `_`, `-` and `.` stay. Every other byte of the id's UTF-8 becomes `=` and two capital hex digits,
so that an id is read back from its name: `deep/Häuser 1` -> `deep=2FH=C3=A4user=201`. Escaped as well are

- a dot at the beginning, which would hide the file;
- the first letter of what Windows takes for a device: `con`, `aux.1`;
- the capitals of ids that differ by them alone: many file systems hold only one of `Door` and `door`.

An id too long for a file's name is cut and ends in `==` and the beginning of its sha256; it alone is not read back.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from p2p_core.files import sha256_bytes

__all__ = ["file_stems"]

_UNSAFE = re.compile(rb"[^A-Za-z0-9._-]|^\.")
_UNSAFE_OR_CAPITAL = re.compile(rb"[^a-z0-9._-]|^\.")
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_EMPTY = "="
_MAX_CHARACTERS, _CUT_CHARACTERS, _DIGEST_CHARACTERS = 200, 160, 32
"""File systems hold 255; what is made of a picture often has a longer name than it."""


def file_stems(ids: Collection[str]) -> dict[str, str]:
    """Id -> name without a suffix, for different ids; names differ by more than capitals."""
    regular = {pair_id: _stem(pair_id, _UNSAFE) for pair_id in ids}
    twins = _shared(stem.lower() for stem in regular.values())
    return {pair_id: _stem(pair_id, _UNSAFE_OR_CAPITAL) if stem.lower() in twins else stem for pair_id, stem in regular.items()}


def _shared(names: Iterable[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def _stem(pair_id: str, unsafe: re.Pattern[bytes]) -> str:
    stem = unsafe.sub(lambda found: _escaped(found[0]), pair_id.encode()).decode() or _EMPTY
    if _DEVICE.match(stem):
        stem = _escaped(stem[:1].encode()).decode() + stem[1:]
    if len(stem) > _MAX_CHARACTERS:
        stem = f"{stem[:_CUT_CHARACTERS]}=={sha256_bytes(pair_id.encode())[:_DIGEST_CHARACTERS]}"
    return stem


def _escaped(byte: bytes) -> bytes:
    return b"=%02X" % byte[0]
