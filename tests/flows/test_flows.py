"""Flows under a real server: a user's error is one message, work is recorded, and a broken server names its log."""

from __future__ import annotations

from pathlib import Path

import pytest
from prefect.client.orchestration import get_client

from flows.build_dataset import build_dataset
from flows.services.launcher import TrainingProcessError
from flows.services.prefect_server import prefect_server
from flows.stages.build import BuildRequest, SplitRequest
from flows.wiring import worth_retrying
from p2p_core.errors import EmptySourceError, ServiceError, StoreError


class Failed:
    """A task run's state as Prefect hands it to a retry condition."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def result(self, *, raise_on_failure: bool) -> Exception:
        assert not raise_on_failure
        return self.error


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StoreError("The store is damaged", remedy="Build it again"), False),
        (TrainingProcessError("It was killed", remedy="Resume"), True),
        (ConnectionResetError("the network"), True),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, again: bool) -> None:
    assert worth_retrying(None, None, Failed(error)) is again


@pytest.mark.usefixtures("prefect_api")
def test_a_users_error_fails_the_flow_once_and_without_a_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    request = BuildRequest(
        builder="folders",
        sources=(tmp_path / "empty",),
        out=tmp_path / "store",
        parameters={"layout": "side_by_side"},
        split=SplitRequest(kind="name"),
    )
    with pytest.raises(EmptySourceError, match="holds no picture"):
        build_dataset(request)
    with get_client(sync_client=True) as client:
        run = next(run for run in client.read_flow_runs() if run.parameters["request"]["out"] == str(tmp_path / "store"))
    assert run.state is not None
    assert run.state.is_failed()
    assert "holds no picture" in caplog.text
    assert "Traceback" not in caplog.text
    assert "retr" not in caplog.text.lower()


def test_a_server_that_cannot_start_is_named_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "prefect.db").mkdir()  # no place for a database
    with pytest.raises(ServiceError, match=r"server\.log"), prefect_server(tmp_path):
        pass
    assert (tmp_path / "server.log").stat().st_size > 0
