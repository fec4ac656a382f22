"""A training on the pool `gpu` whose process, flow and worker are killed in turn: one MLflow run, and the same weights."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectAlreadyExists

from flows.services.launcher import launch_training
from flows.services.mlflow_client import connect
from flows.services.models import local_tracking_uri
from flows.services.training_protocol import TrainingOutcome, TrainingRequest
from p2p_core.training.checkpoint import latest_checkpoint
from p2p_core.training.tracker import read_metrics

ROOT = Path(__file__).resolve().parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
IMAGES = 1600
SETTINGS = (
    "generator.depth=2",
    "generator.base_width=4",
    "discriminator.base_width=4",
    "augment.resize_px=null",
    "augment.crop_px=32",
    "batch_size=4",
    "log_every_images=20",
    "checkpoint_every_images=40",
    "validate_every_images=200",
)


pytestmark = pytest.mark.timeout(900)  # six processes start after one another; seconds on a quiet machine, not on a busy one


def wait_until(condition: Callable[[], bool], what: Callable[[], str], timeout_s: float = 240.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, what()
        time.sleep(0.05)


@dataclass
class Machine:
    """A worker on the pool `gpu`, and what it started."""

    environment: dict[str, str]
    log: Path
    worker: psutil.Popen = field(init=False)

    def start_worker(self) -> None:
        command = [PREFECT, "worker", "start", "--pool", "gpu"]
        with self.log.open("ab") as log:
            self.worker = psutil.Popen(command, env=self.environment, stdout=log, stderr=log)

    def training(self) -> psutil.Process:
        """The one training process; its parent is the flow's."""
        return next(p for p in self.worker.children(recursive=True) if "flows.services.training_process" in p.cmdline())

    def told(self, what: str) -> Callable[[], str]:
        return lambda: f"{what}\n{self.log.read_text()}"


@pytest.fixture(scope="module")
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:  # noqa: ARG001
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def machine(prefect_api: str, client: SyncPrefectClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """`prefect.yaml`'s training and `automations.yaml` on a real server; the pause before a crashed run goes on is shorter."""
    home = tmp_path_factory.mktemp("gpu-worker")
    environment = {
        **os.environ,
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(home),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "OMP_NUM_THREADS": "1",
        "PWD": str(ROOT),
    }
    with suppress(ObjectAlreadyExists):  # other tests share the server
        client.create_work_pool(WorkPoolCreate(name="gpu", type="process"))
    # Two: a killed flow's lease holds its slot for a minute.
    client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="gpu", limit=2))
    automations = home / "automations.yaml"
    automations.write_text((ROOT / "automations.yaml").read_text().replace("within: 60", "within: 10"))
    for command in (["--no-prompt", "deploy", "-n", "train/gpu"], ["automation", "create", "--from-file", str(automations)]):
        done = subprocess.run(
            [PREFECT, *command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    machine = Machine(environment, home / "worker.log")
    machine.start_worker()
    try:
        yield machine
    finally:  # nothing runs any more, or the test failed; asked to end, a worker takes half a minute
        for process in [*machine.worker.children(recursive=True), machine.worker]:
            process.kill()
        machine.worker.wait()


def start(client: SyncPrefectClient, place: Path, data: Path) -> tuple[FlowRun, TrainingRequest]:
    """A run of the deployment that trains in `place`."""
    request = TrainingRequest(
        recipe="facades",
        data=data,
        run_dir=place / "run",
        settings=SETTINGS,
        images=IMAGES,
        tracking_uri=local_tracking_uri(place),
        experiment="survives",
        device="cpu",
    )
    parameters = {"request": request.model_dump(mode="json", exclude={"resume"})}
    deployment = client.read_deployment_by_name("train/gpu")
    return client.create_flow_run_from_deployment(deployment.id, parameters=parameters), request


def has_seen(request: TrainingRequest, images: int) -> Callable[[], bool]:
    def seen() -> bool:
        last = latest_checkpoint(request.run_dir / "checkpoints")
        return last is not None and int(last.name) >= images

    return seen


@dataclass(frozen=True)
class Survived:
    run: FlowRun
    request: TrainingRequest
    undisturbed: TrainingOutcome
    outlived: list[str]
    log: str


@pytest.fixture(scope="module")
def survived(
    machine: Machine, client: SyncPrefectClient, pair_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Survived:
    place = tmp_path_factory.mktemp("survives")
    run, request = start(client, place, pair_store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        undisturbed = launch_training(request.model_copy(update={"run_dir": place / "undisturbed", "tracking_uri": None}))

    wait_until(has_seen(request, IMAGES // 8), machine.told("it trains"))
    machine.training().kill()
    outlived = []
    for share, victim in ((2, "flow"), (4, "worker")):
        wait_until(has_seen(request, share * IMAGES // 8), machine.told(f"it trains until its {victim} is killed"))
        training = machine.training()
        flow = training.parent()
        (flow if victim == "flow" else machine.worker).kill()
        _, alive = psutil.wait_procs([training, flow], timeout=30)
        outlived += [" ".join(process.cmdline()) for process in alive]
        if victim == "worker":
            machine.worker.wait()
            machine.start_worker()
    wait_until(lambda: client.read_flow_run(run.id).state.is_completed(), machine.told("it completes"))
    return Survived(client.read_flow_run(run.id), request, undisturbed, outlived, machine.log.read_text())


def test_nothing_goes_on_training_for_a_flow_or_a_worker_that_was_killed(survived: Survived) -> None:
    assert survived.outlived == []


def test_the_same_flow_run_was_started_three_times_and_completed(survived: Survived) -> None:
    assert survived.run.run_count >= 3


def test_the_weights_are_those_of_a_training_that_nobody_killed(survived: Survived) -> None:
    killed = survived.request.run_dir / "bundle" / "weights.safetensors"
    result = json.loads((survived.request.run_dir / "result.json").read_text())
    assert result["resumed_from"] >= IMAGES // 2
    assert killed.read_bytes() == (survived.undisturbed.bundle / "weights.safetensors").read_bytes()


def test_mlflow_has_one_finished_run(survived: Survived) -> None:
    client = connect(survived.request.tracking_uri)
    experiment = client.get_experiment_by_name("survives")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    history = client.get_metric_history(runs[0].info.run_id, "generator_l1")
    assert sorted(metric.step for metric in history) == list(range(20, IMAGES + 1, 20))


def test_no_step_is_told_twice_or_left_out(survived: Survived) -> None:
    lines = read_metrics(survived.request.run_dir / "metrics.jsonl")
    assert [line["images_seen"] for line in lines if "generator_l1" in line] == list(range(20, IMAGES + 1, 20))


def test_the_run_shows_progress_sheet_and_validations(survived: Survived, client: SyncPrefectClient) -> None:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[survived.run.id]))
    every = sorted(client.read_artifacts(flow_run_filter=of_run), key=lambda artifact: artifact.created)
    shown = {artifact.key: artifact for artifact in every}  # of the last attempt
    assert set(shown) == {"training-progress", "training-sheet", "training-validation", "training"}
    assert shown["training-progress"].data == 100
    assert f"{IMAGES}/{IMAGES} images" in shown["training-progress"].description
    markdown = shown["training-sheet"].data
    assert len(markdown) < 400_000
    uri = re.fullmatch(r"!\[.+\]\(data:image/webp;base64,(.+)\)\n", markdown)
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri[1]))) as sheet:
        assert min(sheet.size) >= 3 * 32
    assert [row["images_seen"] for row in json.loads(shown["training-validation"].data)] == list(range(200, IMAGES + 1, 200))


def test_how_far_it_is_is_in_the_runs_log(survived: Survived, client: SyncPrefectClient) -> None:
    logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[survived.run.id])), limit=200)
    assert any(f"{IMAGES}/{IMAGES} images" in log.message for log in logs)


@pytest.mark.stress
def test_a_run_whose_flow_and_worker_died_at_once_is_missed_and_goes_on(
    machine: Machine, client: SyncPrefectClient, pair_store: Path, tmp_path: Path
) -> None:
    """As when the machine is gone: nobody is left to report it, and only its heartbeats are missed."""
    run, request = start(client, tmp_path, pair_store)
    wait_until(has_seen(request, IMAGES // 4), machine.told("it trains"))
    training = machine.training()
    flow = training.parent()
    machine.worker.kill()
    flow.kill()
    machine.worker.wait()
    psutil.wait_procs([training, flow], timeout=30)
    machine.start_worker()
    wait_until(lambda: client.read_flow_run(run.id).state.is_completed(), machine.told("it completes"), timeout_s=600)
    states = [state.name for state in client.read_flow_run_states(run.id)]
    assert states.count("Crashed") >= 1
    assert json.loads((request.run_dir / "result.json").read_text())["resumed_from"] >= IMAGES // 4
