"""sha256 of files, remembered as long as nothing was done to them: hashing gigabytes to find nothing changed takes a while.

As Git's index does, a file is believed to be what it was while its size, its times of modification and of change, its inode
and its device are what they were. The time of change cannot be set by hand, so neither can a file be changed behind it; what
it does not show is a disk that rots. `p2p verify` reads every byte.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path

from p2p_core.files import sha256_file, write_atomic

__all__ = ["DigestMemory", "file_digest", "remembered_digests"]

_SETTLED_NS = 2_000_000_000
"""A file changed less long ago may change again in the same tick of its file system's clock (FAT's ticks are 2 s)."""

_STAMP_BYTES, _DIGEST_BYTES = 16, 32


class DigestMemory:
    """What is known of files by their absolute paths. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """`path`: the file it is kept in; absent or damaged, nothing is known."""
        self._path = path
        self._known = _read(path)
        self._used: dict[str, bytes] = {}  # stamp and digest

    def sha256(self, path: Path) -> str:
        """Raises `OSError` as reading the file would."""
        name, found = str(path.absolute()), path.stat()
        known = self._known.get(name, b"")
        if known.startswith(_stamp(found)):
            self._used[name] = known
            return known[_STAMP_BYTES:].hex()
        digest = sha256_file(path)
        self._note(name, found, digest)
        return digest

    def note(self, path: Path, digest: str) -> None:
        """A file that this process has just written, and knows what."""
        self._note(str(path.absolute()), path.stat(), digest)

    def _note(self, name: str, found: os.stat_result, digest: str) -> None:
        if max(found.st_mtime_ns, found.st_ctime_ns) < time.time_ns() - _SETTLED_NS:
            self._used[name] = _stamp(found) + bytes.fromhex(digest)

    def save(self) -> None:
        """Keep what was asked for since it was opened, and forget the rest. Raises `OutputError`."""
        if self._used != self._known:
            content = {name: known.hex() for name, known in sorted(self._used.items())}
            write_atomic(self._path, json.dumps(content, separators=(",", ":")).encode())  # ASCII: a path may be no text


_ACTIVE: ContextVar[DigestMemory | None] = ContextVar("digest_memory", default=None)


@contextmanager
def remembered_digests(path: Path) -> Iterator[DigestMemory]:
    """Within it, and in this thread, `file_digest` is that of the memory at `path`. To keep what was learnt, save it."""
    memory = DigestMemory(path)
    token = _ACTIVE.set(memory)
    try:
        yield memory
    finally:
        _ACTIVE.reset(token)


def file_digest() -> Callable[[Path], str]:
    """How to get a file's sha256: from the memory that is open, or by reading it."""
    memory = _ACTIVE.get()
    return memory.sha256 if memory else sha256_file


def _stamp(found: os.stat_result) -> bytes:
    """Hashed, for a hundred thousand files are remembered: five numbers take 300 bytes."""
    values = found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev
    return sha256(repr(values).encode()).digest()[:_STAMP_BYTES]


def _read(path: Path) -> dict[str, bytes]:
    try:
        content = json.loads(path.read_bytes())
        known = {name: bytes.fromhex(value) for name, value in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):  # absent, damaged, or of an earlier version
        return {}
    return {name: value for name, value in known.items() if len(value) == _STAMP_BYTES + _DIGEST_BYTES}
