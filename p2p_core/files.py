"""Files that are whole or absent, digests, and hashes that mean the same on every machine."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2p_core.errors import OutputError, UsageError

__all__ = [
    "Problem",
    "canonical_json",
    "locked",
    "output_errors",
    "require_utf8",
    "sha256_bytes",
    "sha256_file",
    "sha256_json",
    "stable_hash",
    "write_atomic",
    "write_json",
]


_CANNOT_WRITE = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENAMETOOLONG, errno.ELOOP),
    *(errno.EFBIG, errno.EIO),  # a limit of the file system or of `ulimit -f`; a disk or a network that fails
}


@dataclass(frozen=True)
class Problem:
    """What `verify` finds: a bad file. `path` is relative to the directory that was verified; `what` says what is wrong."""

    path: str
    what: str


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys, indented, ending in a newline: the same value is the same bytes."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256_bytes(data: bytes | memoryview) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb", buffering=0) as file:  # half as fast again as reading parts: they need no new memory
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    return sha256_bytes(canonical_json(value))


def place_in(directory: Path, path: Path) -> str:
    """Where in a directory a path leads that begins with it. `Path.relative_to` takes ten times as long."""
    return "/".join(path.parts[len(directory.parts) :])


def stable_hash(text: str) -> int:
    """A 64-bit hash that, unlike `hash`, is the same in every process. For buckets, splits and random seeds."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write under `path` into `OutputError` with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"The disk is full while writing {path}",
                remedy="Free space there or choose another place, then run the same command again",
            ) from error
        if error.errno in _CANNOT_WRITE:
            raise OutputError(
                f"{path} cannot be written: {error.strerror}", remedy="Choose a directory you may write to"
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise OutputError(f"{path} is in the way: {error.strerror}", remedy="Move it or choose another output") from error
        raise


def require_utf8(path: Path) -> None:
    """Raises `UsageError` where the name is not UTF-8: tables, JSON and MLflow cannot hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        shown = os.fsencode(path).decode(errors="backslashreplace")
        raise UsageError(f"The name of {shown} is not UTF-8", remedy="Rename it, or choose another place") from None


def write_atomic(path: Path, data: bytes) -> None:
    """Write the whole file or nothing: a temporary file beside it, flushed to disk, then renamed over it.

    Raises:
        OutputError: the place is read-only, full, or not a directory.
    """
    with output_errors(path):
        if not path.name:  # '.' and '/'
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any] | list[Any]) -> None:
    write_atomic(path, canonical_json(value))


@contextmanager
def locked(path: Path, *, busy: OutputError) -> Iterator[None]:
    """Hold the lock file at `path`, whose directory exists; the system lets go of it whenever and however this process ends.

    A record lock, not flock: processes forked by a killed run must not keep it.

    Raises:
        OutputError: `busy` where another process holds it, or the file cannot be written.
    """
    with output_errors(path):
        lock = path.open("w")
    with lock:
        try:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        yield
