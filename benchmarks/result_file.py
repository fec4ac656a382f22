"""Where a benchmark's figures go: benchmarks/results/<claim>_<hardware>_<date>.md, written by the script that measured them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.hardware import hardware_name
from p2p_core.files import write_atomic

__all__ = ["table", "write_result"]

_RESULTS = Path(__file__).parent / "results"


def write_result(claim: str, text: str) -> Path:
    """Write a Markdown page, print it, and return its path. Of one day, claim and machine the last run stays."""
    hardware = re.sub(r"[^a-z0-9]+", "-", hardware_name().lower()).strip("-")
    path = _RESULTS / f"{claim}_{hardware}_{datetime.date.today().isoformat()}.md"
    write_atomic(path, text.encode())
    print(text)
    return path


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [" | ".join(head), "|".join("---" for _ in head), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" if index != 1 else f"|{line}|" for index, line in enumerate(lines))
