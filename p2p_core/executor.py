"""Where independent work is done: what builds and translations ask of a pool of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

__all__ = ["Executor"]


class Executor(Protocol):
    """Runs `function` on every item, in any order and place. The results may come in any order."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]: ...
