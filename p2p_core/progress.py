"""Progress, rate and time left: a live bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

__all__ = ["Progress", "ProgressLine", "format_duration"]


class Progress(Protocol):
    """Told how much is done, as often as the worker likes.

    The first update says what an earlier run had done: rate and time left count from there, so it comes before the work.
    """

    def update(self, done: int, note: str = "") -> None: ...


def format_duration(seconds: float) -> str:
    """3725 -> '1 h 02 min', 65 -> '1 min 05 s', 4.2 -> '4 s'."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"


class ProgressLine:
    """`with ProgressLine("train", 6400, "images") as progress: progress.update(12, "L1 0.21")`.

    Args:
        label: what is being done.
        total: how many units make it complete.
        unit: the plural noun of a unit.
        every_s: on anything but a terminal, the least time between two lines.
        tell: takes (done, line) in place of `stream`.
    """

    def __init__(
        self,
        label: str,
        total: int,
        unit: str,
        *,
        every_s: float = 5.0,
        stream: TextIO | None = None,
        tell: Callable[[int, str], None] | None = None,
    ) -> None:
        self.label, self.total, self.unit, self.every_s = label, total, unit, every_s
        self._stream = stream or sys.stderr
        self._tell = tell
        self._bar: RichProgress | None = None
        self._started_s = self._printed_s = 0.0
        self._first_done: int | None = None
        self._done = 0
        self._printed_done: int | None = None

    def __enter__(self) -> Self:
        self._started_s = self._printed_s = time.monotonic()
        if self._tell is None and self._stream.isatty():
            columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
            self._bar = RichProgress(
                *columns, TextColumn("{task.fields[note]}"), TimeRemainingColumn(), console=Console(file=self._stream)
            )
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, note="")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and self._done and self._printed_done != self._done:
            self._print("")

    def update(self, done: int, note: str = "") -> None:
        if self._first_done is None:
            self._begin(done)
        self._done = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=f"{self._rate():.1f} {self.unit}/s {note}")
        elif time.monotonic() - self._printed_s >= self.every_s:
            self._print(note)

    def _begin(self, done: int) -> None:
        """What was done before, and the time it took to find that out, are no part of the rate."""
        self._first_done, self._started_s = done, time.monotonic()
        if self._bar is not None:
            self._bar.reset(self._task, completed=done)  # rich would take the first jump for speed

    def _rate(self) -> float:
        elapsed_s = max(time.monotonic() - self._started_s, 1e-6)
        return (self._done - (self._first_done or 0)) / elapsed_s

    def _print(self, note: str) -> None:
        self._printed_s, self._printed_done = time.monotonic(), self._done
        rate = self._rate()
        num_left = max(0, self.total - self._done)
        left = format_duration(num_left / rate) if rate > 0 else "unknown" if num_left else format_duration(0)
        line = f"{self.label}: {self._done}/{self.total} {self.unit}, {rate:.1f}/s, {left} left"
        line = f"{line}, {note}" if note else line
        if self._tell is not None:
            self._tell(self._done, line)
        else:
            print(line, file=self._stream, flush=True)
