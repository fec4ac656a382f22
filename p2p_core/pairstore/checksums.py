"""The sha256 of every file of an export, beside it. `sha256sum -c .p2p-export.sha256` checks it too.

Written last: without it an export is not complete. Names are ASCII and have no spaces (`file_names`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from p2p_core.files import Problem, sha256_file, write_atomic
from p2p_core.pairstore.layout import SPLITS

__all__ = ["CHECKSUMS", "verify_export", "write_checksums"]

CHECKSUMS = ".p2p-export.sha256"
_LINE = re.compile(r"([0-9a-f]{64})  ([!-~]+)")


def write_checksums(dest: Path, sha256_of: Mapping[str, str]) -> None:
    """`sha256_of`: of each file by its name below `dest`. Raises `OutputError` where it cannot be written."""
    write_atomic(dest / CHECKSUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sha256_of.items())).encode())


def verify_export(dest: Path) -> list[Problem]:
    """Every file of an export that is not what was written, is missing, or does not belong among its pictures."""
    try:
        lines = (dest / CHECKSUMS).read_text(encoding="ascii", errors="replace").splitlines()
    except FileNotFoundError:
        return [Problem(CHECKSUMS, "is missing: the export was interrupted, or made by an earlier version; run it again")]
    except OSError as error:
        return [Problem(CHECKSUMS, f"cannot be read: {error.strerror}")]
    read = [_LINE.fullmatch(line) for line in lines]
    problems = [Problem(CHECKSUMS, f"is damaged in line {number}") for number, line in enumerate(read, 1) if not line]
    sha256_of = {line[2]: line[1] for line in read if line}
    problems += [Problem(name, what) for name, digest in sha256_of.items() if (what := _wrong(dest / name, digest))]
    there = (file for split in SPLITS for file in sorted((dest / split).rglob("*")) if not file.is_dir())
    names = (file.relative_to(dest).as_posix() for file in there)
    return problems + [Problem(name, "is not of the export") for name in names if name not in sha256_of]


def _wrong(path: Path, digest: str) -> str | None:
    try:
        return None if sha256_file(path) == digest else "holds other bytes than were written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
