"""`prefect.yaml` on a real server: every flow is deployed, and a worker runs one of them to completion."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.exceptions import ObjectAlreadyExists

from p2p_core.pairstore.reader import PairStore

ROOT = Path(__file__).resolve().parents[2]
PREFECT = Path(sys.executable).with_name("prefect")
DEPLOYMENTS = {
    "build_dataset/nightly": "cpu",
    "edges/nightly": "cpu",
    "train/gpu": "gpu",
    "evaluate/weekly": "cpu",
    "promote/gate": "cpu",
    "translate_archive/monthly": "cpu",
    "pipeline/world": "cpu",
}
RUN_TIMEOUT_S = 150.0


@pytest.fixture(scope="module")
def environment(prefect_api: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {
        **os.environ,
        "PREFECT_API_URL": prefect_api,
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect-worker")),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PWD": str(ROOT),
    }


@pytest.fixture(scope="module")
def client(prefect_api: str) -> Iterator[SyncPrefectClient]:  # noqa: ARG001
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture(scope="module")
def deployed(client: SyncPrefectClient, environment: dict[str, str]) -> None:
    for pool in ("cpu", "gpu"):
        with suppress(ObjectAlreadyExists):  # other tests share the server
            client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    done = subprocess.run(
        [PREFECT, "--no-prompt", "deploy", "--all"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def worker(environment: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """A worker of the pool `cpu`, stopped by its process id; yields its log."""
    log = tmp_path / "worker.log"
    with log.open("wb") as stream:
        command = [PREFECT, "worker", "start", "--pool", "cpu"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=stream, stderr=stream)
        try:
            yield log
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(5)
    for index in range(12):
        place = tmp_path / "pictures" / f"{index}.png"
        place.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 32, 3), dtype=np.uint8)).save(place)
    return tmp_path / "pictures"


@pytest.mark.usefixtures("deployed")
def test_every_flow_is_deployed_to_its_pool_and_limited_to_one_run_at_a_time_or_by_gpu_slots(client: SyncPrefectClient) -> None:
    for name, pool in DEPLOYMENTS.items():
        deployment = client.read_deployment_by_name(name)
        assert deployment.work_pool_name == pool
        if pool == "gpu":
            assert deployment.global_concurrency_limit is None
            assert deployment.parameters["request"]["gpu_slot"] == "gpu"
        else:
            assert deployment.global_concurrency_limit is not None
            assert deployment.global_concurrency_limit.limit == 1
        assert deployment.pull_steps == [{"prefect.deployments.steps.set_working_directory": {"directory": str(ROOT)}}]


@pytest.mark.usefixtures("deployed")
def test_no_schedule_that_trains_or_writes_archives_is_active(client: SyncPrefectClient) -> None:
    active = {name for name in DEPLOYMENTS for schedule in client.read_deployment_by_name(name).schedules if schedule.active}
    assert active == {"build_dataset/nightly", "evaluate/weekly"}


@pytest.mark.usefixtures("deployed")
def test_a_worker_runs_a_deployed_build_to_completion(
    client: SyncPrefectClient, worker: Path, pictures: Path, tmp_path: Path
) -> None:
    request = {
        "builder": "folders",
        "sources": [str(pictures)],
        "out": str(tmp_path / "store"),
        "parameters": {"layout": "side_by_side"},
        "split": {"kind": "name"},
        "layout": {"num_buckets": 2, "pairs_per_shard": 8},
    }
    deployment = client.read_deployment_by_name("build_dataset/nightly")
    started = client.create_flow_run_from_deployment(deployment.id, parameters={"request": request})
    finished = wait_for(client, started)
    assert finished.state is not None
    assert finished.state.is_completed(), f"{finished.state.message}\n{worker.read_text()}"
    assert sum(PairStore.open(tmp_path / "store").manifest.counts.values()) == 12


def wait_for(client: SyncPrefectClient, run: FlowRun) -> FlowRun:
    deadline_s = time.monotonic() + RUN_TIMEOUT_S
    while time.monotonic() < deadline_s:
        run = client.read_flow_run(run.id)
        if run.state is not None and run.state.is_final():
            break
        time.sleep(0.5)
    return run
