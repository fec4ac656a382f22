"""Training in a process of its own: its result, its errors and its death all reach the parent."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from flows.services.launcher import TrainingProcessError, launch_training
from flows.services.training_protocol import TrainingRequest
from p2p_core.errors import NoMemoryError, OutputError, StoreError, UsageError
from p2p_core.inference.bundle import load_bundle, verify_bundle
from p2p_core.model.generator import ResNetConfig
from p2p_core.progress import Progress

SETTINGS = (
    "generator.depth=2",
    "generator.base_width=4",
    "discriminator.base_width=4",
    "augment.resize_px=null",
    "augment.crop_px=32",
    "batch_size=4",
    "log_every_images=4",
    "checkpoint_every_images=8",
    "validate_every_images=0",
)


class Collected:
    """A `Progress` that remembers, and that may end the training process when it has seen enough."""

    def __init__(self, kill_at: int | None = None) -> None:
        self.seen: list[int] = []
        self.budget = 0
        self.kill_at = kill_at

    def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
        self.seen.append(done)
        if self.kill_at is not None and done >= self.kill_at:
            children = psutil.Process().children()
            training = [child for child in children if "flows.services.training_process" in child.cmdline()]
            assert len(training) == 1
            training[0].kill()

    @contextmanager
    def start(self, budget_images: int) -> Iterator[Progress]:
        self.budget = budget_images
        yield self


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def request_24(pair_store: Path, tmp_path: Path) -> TrainingRequest:
    return TrainingRequest(recipe="facades", data=pair_store, run_dir=tmp_path / "run", settings=SETTINGS, images=24)


def test_a_training_leaves_a_bundle_and_tells_how_far_it_is(request_24: TrainingRequest) -> None:
    progress = Collected()
    outcome = launch_training(request_24, progress_for=progress.start)
    assert (progress.budget, outcome.images_seen, outcome.resumed_from) == (24, 24, 0)
    assert progress.seen == sorted(progress.seen)
    assert progress.seen[-1] == 24
    assert load_bundle(outcome.bundle).digest == outcome.bundle_digest
    assert (outcome.budget.chosen_by, outcome.run_id) == ("images", None)
    assert json.loads((request_24.run_dir / "budget.json").read_text())["images"] == 24
    with pytest.raises(OutputError, match="already holds a training run"):
        launch_training(request_24)


def test_settings_choose_another_network_and_objective(request_24: TrainingRequest) -> None:
    chosen = ("generator.kind=resnet", "generator.num_blocks=1", "generator.base_width=4", "objective.adversarial=none")
    settings = (*chosen, *(setting for setting in SETTINGS if not setting.startswith("generator")))
    outcome = launch_training(request_24.model_copy(update={"settings": settings, "images": 8}))
    assert load_bundle(outcome.bundle).spec.architecture == ResNetConfig(num_blocks=1, base_width=4)
    metrics = (request_24.run_dir / "metrics.jsonl").read_text()
    assert "generator_l1" in metrics
    assert "discriminator" not in metrics


def test_resumed_without_settings_a_training_goes_on_as_it_began(request_24: TrainingRequest) -> None:
    request = request_24.model_copy(update={"images": 600})  # long enough to be killed in
    with pytest.raises(TrainingProcessError):
        launch_training(request, progress_for=Collected(kill_at=12).start)
    as_begun = request.model_copy(update={"resume": True, "settings": None, "images": None})
    outcome = launch_training(as_begun, progress_for=Collected().start)
    assert (outcome.images_seen, outcome.budget.images, outcome.budget.chosen_by) == (600, 600, "images")
    assert json.loads((request.run_dir / "config.json").read_text())["generator"]["depth"] == 2
    with pytest.raises(UsageError, match="holds a run of recipe facades, not maps"):
        launch_training(as_begun.model_copy(update={"recipe": "maps"}))


def test_a_killed_training_says_so_and_resumes_in_its_mlflow_run(request_24: TrainingRequest, tracking_uri: str) -> None:
    request = request_24.model_copy(update={"images": 160, "tracking_uri": tracking_uri, "experiment": "killed"})
    with pytest.raises(TrainingProcessError, match=r"SIGKILL.*--resume"):
        launch_training(request, progress_for=Collected(kill_at=40).start)
    killed_run = json.loads((request.run_dir / "mlflow_run.json").read_text())["run_id"]
    outcome = launch_training(request.model_copy(update={"resume": True}), progress_for=Collected().start)
    assert outcome.resumed_from >= 32
    assert outcome.images_seen == 160
    assert outcome.run_id == killed_run
    assert verify_bundle(outcome.bundle) == []

    from flows.services.mlflow_client import connect

    client = connect(tracking_uri)
    assert client.get_run(killed_run).info.status == "FINISHED"
    steps = {metric.step for metric in client.get_metric_history(killed_run, "generator_l1")}
    assert max(steps) == 160
    assert [entry.dataset.name for entry in client.get_run(killed_run).inputs.dataset_inputs] == ["store"]


def test_an_error_of_the_training_keeps_its_kind_problem_and_remedy(request_24: TrainingRequest, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a pair store") as raised:
        launch_training(request_24.model_copy(update={"data": tmp_path / "nowhere"}), progress_for=Collected().start)
    assert raised.value.remedy


def test_what_the_process_prints_is_told_line_by_line_while_it_runs(request_24: TrainingRequest) -> None:
    happened: list[str] = []
    request = request_24.model_copy(update={"images": 4, "tracking_uri": "http://127.0.0.1:9"})
    launch_training(
        request,
        progress_for=Collected().start,
        told=lambda message: happened.append(message.kind),
        printed=lambda line: happened.append(line),
    )
    warned = next(i for i, what in enumerate(happened) if what.startswith("Warning: ") and "Training goes on" in what)
    assert happened.index("planned") < warned < happened.index("finished")


def test_a_training_short_of_memory_names_its_sizes_and_what_to_make_smaller(request_24: TrainingRequest) -> None:
    """The system refuses this very process more than 300 MB on top of what it has."""

    class Poor(Collected):
        def update(self, done: int, note: str = "") -> None:  # noqa: ARG002
            (training,) = [c for c in psutil.Process().children() if "flows.services.training_process" in c.cmdline()]
            lines = Path(f"/proc/{training.pid}/status").read_text().splitlines()
            data_bytes = 1024 * int(next(line for line in lines if line.startswith("VmData:")).split()[1])
            if done == 0 and not self.seen:
                resource.prlimit(training.pid, resource.RLIMIT_DATA, (data_bytes + 300_000_000, resource.RLIM_INFINITY))
            self.seen.append(done)

    settings = tuple(s.replace("batch_size=4", "batch_size=512").replace("base_width=4", "base_width=64") for s in SETTINGS)
    with pytest.raises(NoMemoryError, match=r"batch_size 512, augment.crop_px 32, .*base_width 64") as told:
        launch_training(request_24.model_copy(update={"settings": settings}), progress_for=Poor().start)
    assert "--set batch_size=256, then --set precision=bf16" in told.value.remedy


def test_nothing_is_left_running(request_24: TrainingRequest) -> None:
    assert not [child for child in psutil.Process(os.getpid()).children() if "training_process" in " ".join(child.cmdline())]
    assert not request_24.run_dir.exists()
