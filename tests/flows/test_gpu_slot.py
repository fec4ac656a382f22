"""One slot, one training: the second waits, a limit nobody made is made, and what a crash held is free again."""

from __future__ import annotations

import contextvars
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client

from flows.services import gpu_slot as module
from flows.services.gpu_slot import gpu_slot
from p2p_core.errors import UsageError

pytestmark = pytest.mark.usefixtures("prefect_api")

HOLDS_UNTIL_KILLED = """
import time
from flows.services.gpu_slot import gpu_slot
with gpu_slot("crash", print):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def test_a_limit_that_does_not_exist_is_made_with_one_slot_which_is_given_back(client: SyncPrefectClient) -> None:
    said: list[str] = []
    with gpu_slot("made", said.append):
        limit = client.read_global_concurrency_limit_by_name("made")
        assert (limit.limit, limit.active_slots) == (1, 1)
    assert client.read_global_concurrency_limit_by_name("made").active_slots == 0
    with gpu_slot("made", said.append):
        pass
    assert len(said) == 1
    assert "prefect gcl update made --limit N" in said[0]


def test_a_training_in_several_processes_takes_a_slot_for_each(client: SyncPrefectClient) -> None:
    with gpu_slot("pair", print, 2):
        limit = client.read_global_concurrency_limit_by_name("pair")
        assert (limit.limit, limit.active_slots) == (2, 2)
    with pytest.raises(UsageError, match="takes 3 slots of `pair`, which has 2"), gpu_slot("pair", print, 3):
        pass


def test_a_second_training_waits_for_the_first_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ASK_S", 0.2)
    said: list[str] = []
    held = threading.Event()

    def train() -> None:
        with gpu_slot("queue", said.append):
            held.set()

    second = threading.Thread(target=contextvars.copy_context().run, args=(train,))
    with gpu_slot("queue", lambda _: None):
        second.start()
        assert not held.wait(2)
        assert [line.split(":")[0] for line in said] == ["Waiting for a slot of Prefect's concurrency limit `queue`"]
    assert held.wait(30)
    second.join()
    assert said[1:] == ["Got a slot of `queue`"]


def test_a_lease_that_ended_while_the_server_was_away_is_taken_again_or_its_loss_told(client: SyncPrefectClient) -> None:
    said: list[str] = []
    lease = module._ask(client, "away", 1, lambda _: None)
    assert lease is not None
    held = module._Held("away", 1, lease, said.append)
    client.release_concurrency_slots_with_lease(lease)
    held._renew_once(client)
    assert held.lease != lease
    assert client.read_global_concurrency_limit_by_name("away").active_slots == 1
    client.release_concurrency_slots_with_lease(held.lease)
    assert module._ask(client, "away", 1, said.append) is not None  # another run was faster
    held._renew_once(client)
    held._renew_once(client)
    assert [line.split(":")[0] for line in said] == ["Warning"]


@pytest.mark.stress
def test_the_slot_of_a_killed_holder_is_free_again_within_its_lease(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", prefect_api)
    holder = subprocess.Popen([sys.executable, "-c", HOLDS_UNTIL_KILLED], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert any(line == "held\n" for line in holder.stdout)
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    killed_s = time.monotonic()
    with gpu_slot("crash", lambda _: None):
        assert 20 < time.monotonic() - killed_s < 100
