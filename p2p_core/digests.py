"""sha256 of files, remembered as long as nothing was done to them: hashing gigabytes to find nothing changed takes a while.

As Git's index does, a file is believed to be what it was while its size, its times of modification and of change, its inode
and its device are what they were. The time of change cannot be set by hand, so neither can a file be changed behind it; what
it does not show is a disk that rots. `p2p verify` reads every byte.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from p2p_core.files import sha256_file, write_atomic

__all__ = ["DigestMemory", "file_digest", "remembered_digests"]

_SETTLED_NS = 2_000_000_000
"""A file changed less long ago may change again in the same tick of its file system's clock (FAT's ticks are 2 s)."""


class DigestMemory:
    """What is known of files by their absolute paths. Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        """`path`: the file it is kept in; absent or damaged, nothing is known."""
        self._path = path
        self._known = _read(path)
        self._used: dict[str, str] = {}  # "stamp digest": text takes a third of what numbers do

    def sha256(self, path: Path) -> str:
        """Raises `OSError` as reading the file would."""
        name, stamp = str(path.absolute()), _stamp(path)
        known_stamp, _, digest = self._known.get(name, "").rpartition(" ")
        if known_stamp == stamp:
            self._used[name] = self._known[name]
            return digest
        digest = sha256_file(path)
        self._note(name, stamp, digest)
        return digest

    def note(self, path: Path, digest: str) -> None:
        """A file that this process has just written, and knows what."""
        self._note(str(path.absolute()), _stamp(path), digest)

    def _note(self, name: str, stamp: str, digest: str) -> None:
        _, modified_ns, changed_ns, *_ = map(int, stamp.split())
        if max(modified_ns, changed_ns) < time.time_ns() - _SETTLED_NS:
            self._used[name] = f"{stamp} {digest}"

    def save(self) -> None:
        """Keep what was asked for since it was opened, and forget the rest. Raises `OutputError`."""
        if self._used != self._known:
            content = json.dumps(self._used, sort_keys=True, separators=(",", ":"))  # ASCII: a path may be no text
            write_atomic(self._path, content.encode())


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


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino} {found.st_dev}"


def _read(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_bytes())
        return {name: known for name, known in content.items() if isinstance(known, str)}  # not a list, as once it was
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
