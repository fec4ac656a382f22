"""Prefect artifacts that change while a run goes on. One of each key a run attempt, so the database does not grow."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, cast
from uuid import UUID

import httpx
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.client.schemas.objects import Artifact as ArtifactResponse
from prefect.exceptions import PrefectException

from p2p_core.errors import P2PError

__all__ = ["LiveArtifacts"]

_EVERY_S = 5.0
_LEAVE_S = 10.0


class LiveArtifacts:
    """`with LiveArtifacts(warn) as live: live.show("progress", make)`: the newest of each key is sent every few seconds.

    Sends from a thread of its own, since a server that is away must not hold up the work, and never fails it.

    Args:
        warn: told once if something could not be shown.
    """

    def __init__(self, warn: Callable[[str], None], *, every_s: float = _EVERY_S) -> None:
        self._warn, self._every_s = warn, every_s
        self._pending: dict[str, Callable[[], Artifact]] = {}
        self._known: dict[str, UUID] = {}
        self._lock, self._over = threading.Lock(), threading.Event()
        self._failed = False

    def __enter__(self) -> Self:
        # A copy of this context: artifacts belong to its run.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._send_until_over,), name="live-artifacts", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(_LEAVE_S)

    def show(self, key: str, make: Callable[[], Artifact]) -> None:
        """Show what `make` makes, unless something newer of this key comes first. `make` runs in the sending thread."""
        with self._lock:
            self._pending[key] = make

    def _send_until_over(self) -> None:
        while not self._over.wait(self._every_s):
            self._send_pending()
        self._send_pending()

    def _send_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
        for key, make in pending.items():
            try:
                self._send(key, make())
            except (httpx.HTTPError, PrefectException, P2PError, OSError) as error:
                if not self._failed:
                    self._failed = True
                    self._warn(f"Prefect does not show {key}: {error}")

    def _send(self, key: str, artifact: Artifact) -> None:
        if key not in self._known:
            self._known[key] = cast(ArtifactResponse, artifact.create()).id  # no coroutine: no event loop runs here
            return
        with get_client(sync_client=True) as client:
            changed = ArtifactUpdate(data=artifact.format(), description=artifact.description)
            client.update_artifact(self._known[key], changed)
