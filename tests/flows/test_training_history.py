"""What MLflow's own server has of a training that was killed, or whose server was: each metric once, and none is missing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from flows.services.launcher import TrainingProcessError, launch_training
from flows.services.mlflow_client import connect
from flows.services.mlflow_tracking import MlflowTracker
from flows.services.training_protocol import TrainingOutcome, TrainingRequest
from p2p_core.progress import Progress
from p2p_core.training.tracker import JsonLinesTracker, read_metrics

SETTINGS = (
    "generator.depth=2",
    "generator.base_width=4",
    "discriminator.base_width=4",
    "augment.resize_px=null",
    "augment.crop_px=32",
    "batch_size=4",
    "log_every_images=12",
    "validate_every_images=800",
    "checkpoint_every_images=800",
)
IMAGES = 2400
History = dict[str, list[tuple[int, float]]]


class Server:
    """A real MLflow server, to be killed and started again on the same port."""

    def __init__(self, place: Path, database: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", str(place / "artifacts"),
        ]  # fmt: skip
        self._log = place / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        deadline_s = time.monotonic() + 180
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline_s, self._log.read_text()
            time.sleep(0.2)

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def history(self, run_id: str) -> History:
        client = connect(self.uri)
        names = sorted(client.get_run(run_id).data.metrics)
        return {name: [(m.step, m.value) for m in client.get_metric_history(run_id, name)] for name in names}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), empty_mlflow)
    server.start()
    yield server
    server.kill()


class Watched:
    """A `Progress` that does something once the training has come so far."""

    def __init__(self, images: int, act) -> None:
        self.images, self.act, self.done = images, act, False

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        if done >= self.images and not self.done:
            self.done = True
            self.act()

    @contextmanager
    def start(self, budget_images: int) -> Iterator[Progress]:  # noqa: ARG002
        yield self


def kill_training() -> None:
    (training,) = [c for c in psutil.Process().children() if "flows.services.training_process" in c.cmdline()]
    training.kill()


def of_the_file(run_dir: Path) -> History:
    history: History = {}
    for line in read_metrics(run_dir / "metrics.jsonl"):
        for name, value in line.items():
            if name not in ("images_seen", "time_s"):
                history.setdefault(name, []).append((int(line["images_seen"]), value))
    return history


def steps(history: History) -> dict[str, list[int]]:
    return {name: [step for step, _ in values] for name, values in history.items()}


def without_rate(history: History) -> History:
    return {name: values for name, values in history.items() if name != "images_per_s"}


@pytest.fixture(scope="module")
def request_2400(pair_store: Path, server: Server, tmp_path_factory: pytest.TempPathFactory) -> TrainingRequest:
    return TrainingRequest(
        recipe="facades", data=pair_store, run_dir=tmp_path_factory.mktemp("run") / "whole", settings=SETTINGS, images=IMAGES,
        tracking_uri=server.uri,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(request_2400: TrainingRequest) -> TrainingOutcome:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OMP_NUM_THREADS", "1")
        return launch_training(request_2400, progress_for=Watched(IMAGES, lambda: None).start)


def wait_until(condition, what: str, timeout_s: float = 180.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what
        time.sleep(0.1)


def test_the_history_of_a_run_is_its_file(server: Server, request_2400: TrainingRequest, whole: TrainingOutcome) -> None:
    assert whole.run_id is not None
    history = server.history(whole.run_id)
    assert history == of_the_file(request_2400.run_dir)
    assert steps(history)["generator_l1"] == list(range(12, IMAGES + 1, 12))
    names = {artifact.path for artifact in connect(server.uri).list_artifacts(whole.run_id, "sheets")}
    assert names == {f"sheets/{images:08d}.png" for images in range(800, IMAGES + 1, 800)}


def test_a_training_killed_while_its_metrics_arrive_has_the_history_of_one_that_was_not(
    server: Server, request_2400: TrainingRequest, whole: TrainingOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed when the server has more than the newest checkpoint covers: those steps are taken again."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run_dir = request_2400.run_dir.with_name("killed")
    request = request_2400.model_copy(update={"run_dir": run_dir})
    sent_beyond: list[bool] = []

    def kill_when_the_server_is_ahead() -> None:
        client = connect(server.uri)

        def is_ahead() -> bool:
            (run_id,) = [r.info.run_id for r in client.search_runs([client.get_experiment_by_name("p2p").experiment_id],
                                                                   "attributes.run_name = 'killed'")]  # fmt: skip
            told = [m.step for m in client.get_metric_history(run_id, "generator_l1")]
            kept = [int(path.parent.name) for path in (run_dir / "checkpoints").glob("*/checkpoint.json")]
            return bool(told) and max(told) > max(kept, default=0) + 12

        wait_until(is_ahead, "the server is ahead of the checkpoints")
        kill_training()
        sent_beyond.append(is_ahead())

    for resume, images in ((False, 40), (True, 850)):
        with pytest.raises(TrainingProcessError, match="SIGKILL"):
            launch_training(
                request.model_copy(update={"resume": resume}), progress_for=Watched(images, kill_when_the_server_is_ahead).start
            )
    assert sent_beyond == [True, True]
    outcome = launch_training(request.model_copy(update={"resume": True}), progress_for=Watched(IMAGES, lambda: None).start)
    assert outcome.bundle_digest == whole.bundle_digest
    assert outcome.run_id is not None
    assert whole.run_id is not None
    history, expected = server.history(outcome.run_id), server.history(whole.run_id)
    assert without_rate(history) == without_rate(expected)
    assert steps(history) == steps(expected)
    assert without_rate(of_the_file(run_dir)) == without_rate(expected)


def test_what_a_server_missed_that_was_killed_follows_when_it_is_back(server: Server, tmp_path: Path) -> None:
    said: list[str] = []
    journal = JsonLinesTracker(tmp_path)
    tracker = MlflowTracker(server.uri, "p2p", tmp_path, tags={}, warn=said.append, retry_s=0.5)
    assert tracker.run_id is not None
    for images_seen in range(10):
        journal.log_metrics({"generator_l1": float(images_seen)}, images_seen)
    wait_until(lambda: len(server.history(tracker.run_id).get("generator_l1", [])) == 10, "the first ten arrived")
    server.kill()
    for images_seen in range(10, 30):
        journal.log_metrics({"generator_l1": float(images_seen)}, images_seen)
    tracker.log_parameters({"seed": 3})
    wait_until(lambda: bool(said), "the outage is told")
    server.start()
    wait_until(lambda: len(said) == 2, "its end is told")
    journal.close()
    tracker.finish("FINISHED")
    assert "Training goes on" in said[0]
    assert "answers again" in said[1]
    assert server.history(tracker.run_id) == {"generator_l1": [(i, float(i)) for i in range(30)]}
    assert connect(server.uri).get_run(tracker.run_id).data.params == {"seed": "3"}


def test_a_server_killed_for_good_costs_no_bundle_and_the_next_resume_sends_the_rest(
    server: Server, request_2400: TrainingRequest, whole: TrainingOutcome, capfd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    request = request_2400.model_copy(update={"run_dir": request_2400.run_dir.with_name("alone"), "images": IMAGES})
    outcome = launch_training(request, progress_for=Watched(400, server.kill).start)
    assert outcome.bundle_digest == whole.bundle_digest
    said = capfd.readouterr().err
    assert said.count("Training goes on") == 1
    assert "the same command with --resume sends what is missing" in said
    server.start()
    assert outcome.run_id is not None
    assert len(server.history(outcome.run_id).get("generator_l1", [])) < IMAGES // 12
    again = launch_training(request.model_copy(update={"resume": True}), progress_for=Watched(IMAGES, lambda: None).start)
    assert (again.run_id, again.bundle_digest) == (outcome.run_id, whole.bundle_digest)
    assert server.history(outcome.run_id) == of_the_file(request.run_dir)
    assert whole.run_id is not None
    assert without_rate(server.history(outcome.run_id)) == without_rate(server.history(whole.run_id))
    run = connect(server.uri).get_run(outcome.run_id)
    assert (run.info.status, run.data.params["batch_size"]) == ("FINISHED", "4")
    assert len(connect(server.uri).list_artifacts(outcome.run_id, "sheets")) == IMAGES // 800
