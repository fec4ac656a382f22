"""One slot, one training: the second waits, a limit nobody made is made, and a lost lease is taken again."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from flows.services import gpu_slot as module
from flows.services.gpu_slot import gpu_slot

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@contextmanager
def in_thread(name: str, said: list[str]) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Hold a slot in a thread of its own: (it is held, let it go)."""
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with gpu_slot(name, said.append):
            held.set()
            over.wait(60)

    import contextvars

    thread = threading.Thread(target=contextvars.copy_context().run, args=(hold,))
    thread.start()
    try:
        yield held, over
    finally:
        over.set()
        thread.join()


def test_a_limit_that_does_not_exist_is_made_with_one_slot_which_is_given_back(client: SyncPrefectClient) -> None:
    said: list[str] = []
    with gpu_slot("made", said.append):
        limit = client.read_global_concurrency_limit_by_name("made")
        assert (limit.limit, limit.active_slots) == (1, 1)
    assert client.read_global_concurrency_limit_by_name("made").active_slots == 0
    assert len(said) == 1
    assert "prefect gcl update made --limit N" in said[0]
    with gpu_slot("made", said.append):
        pass
    assert len(said) == 1


def test_a_second_training_waits_for_the_first_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ASK_S", 0.2)
    said: list[str] = []
    with gpu_slot("queue", lambda _: None), in_thread("queue", said) as (held, _):
        assert not held.wait(2)
        assert [line for line in said if line.startswith("Waiting for a slot")] == said[:1] == said
        waiting_since_s = time.monotonic()
    # The order of leaving: the thread is asked to end first, so it got its slot only after it could.
    assert time.monotonic() - waiting_since_s < 60


def test_a_slot_whose_lease_ended_while_the_server_was_away_is_taken_again(
    client: SyncPrefectClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RENEW_S", 0.3)
    said: list[str] = []
    with in_thread("lost", said) as (held, _):
        assert held.wait(30)
        said.clear()
