"""GPU slots: of a Prefect global concurrency limit, leased, so that a crash gives it back.

Prefect's own `concurrency` stops renewing its lease after three failed attempts within seconds, and then either ends the
training or lets another run have the same GPU. This one goes on asking, so a server may be away for most of a minute.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectAlreadyExists

from flows.services.worker import require_worker
from p2p_core.errors import UsageError

__all__ = ["gpu_slot"]

_LEASE_S = 60.0
"""The least that Prefect 3.8 grants. Its server looks for expired leases every 15 s."""
_RENEW_S = 15.0
_ASK_S = 3.0
Say = Callable[[str], None]


@contextmanager
def gpu_slot(name: str, say: Say, slots: int = 1) -> Iterator[None]:
    """Wait for `slots` slots of the limit `name` and hold them; a limit that does not exist is made, with so many.

    Args:
        say: told what is waited for, and if the slots are ever lost; from another thread, too.

    Raises:
        UsageError: the limit has fewer slots.
    """
    with get_client(sync_client=True) as client:
        lease = _wait_for_slot(client, name, slots, say)
        held = _Held(name, slots, lease, say)
        # A copy: settings and the current run are this context's.
        renewing = threading.Thread(target=contextvars.copy_context().run, args=(held.renew,), name="gpu-slot", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            held.over.set()
            renewing.join()
            with suppress(httpx.HTTPError):  # the lease ends by itself
                client.release_concurrency_slots_with_lease(held.lease)


def _wait_for_slot(client: SyncPrefectClient, name: str, slots: int, say: Say) -> UUID:
    waits = False
    while True:
        require_worker()
        with suppress(httpx.TransportError):  # the server is away: a queue of hours outlives that
            if lease := _ask(client, name, slots, say):
                if waits:
                    say(f"Got a slot of `{name}`")
                return lease
        if not waits:
            waits = True
            say(f"Waiting for a slot of Prefect's concurrency limit `{name}`: all are taken (prefect gcl inspect {name})")
        time.sleep(_ASK_S)


def _ask(client: SyncPrefectClient, name: str, slots: int, say: Say) -> UUID | None:
    """A lease; None where all slots are taken."""
    while True:
        try:
            reply = client.increment_concurrency_slots_with_lease(
                names=[name], slots=slots, mode="concurrency", lease_duration=_LEASE_S
            )
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.LOCKED:
                return None
            if error.response.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
                _require_enough(client, name, slots)
            raise
        given = reply.json()
        if given["limits"]:
            return UUID(given["lease_id"])
        # Without a limit nothing is held, and Prefect says nothing.
        with suppress(ObjectAlreadyExists):
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=slots))
            made = "one slot: one training at a time" if slots == 1 else f"{slots} slots"
            say(f"Made Prefect's concurrency limit `{name}` with {made}; with more GPUs, prefect gcl update {name} --limit N")


def _require_enough(client: SyncPrefectClient, name: str, slots: int) -> None:
    limit = client.read_global_concurrency_limit_by_name(name).limit
    if limit < slots:
        raise UsageError(
            f"This training takes {slots} slots of `{name}`, which has {limit}",
            remedy=f"Use fewer processes, or where the GPUs are there: prefect gcl update {name} --limit {slots}",
        )


class _Held:
    """A lease that is kept alive until `over`."""

    def __init__(self, name: str, slots: int, lease: UUID, say: Say) -> None:
        self.name, self.slots, self.lease, self.over = name, slots, lease, threading.Event()
        self._say = say
        self._lost = False

    def renew(self) -> None:
        with get_client(sync_client=True) as client:
            while not self.over.wait(_RENEW_S):
                with suppress(httpx.HTTPError):  # the server is away: ask again
                    self._renew_once(client)

    def _renew_once(self, client: SyncPrefectClient) -> None:
        try:
            client.renew_concurrency_lease(lease_id=self.lease, lease_duration=_LEASE_S)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.GONE:
                raise
        else:
            return
        # The server was away for longer than the lease, or forgot it when it started again.
        lease = _ask(client, self.name, self.slots, self._say)
        if lease is not None:
            self.lease, self._lost = lease, False
        elif not self._lost:
            self._lost = True
            self._say(f"Warning: the slot of `{self.name}` was lost and is taken: another run may use the same GPU")
