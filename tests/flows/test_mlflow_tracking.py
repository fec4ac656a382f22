"""Training runs in a real MLflow store: complete, resumable, and never in the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flows.services.mlflow_client import connect
from flows.services.mlflow_tracking import MlflowTracker, read_run_record, start_run
from flows.services.models import check_model_name
from p2p_core.errors import OutputError, ServiceError, UsageError
from p2p_core.pairstore.reader import PairStore
from p2p_core.training.tracker import JsonLinesTracker, read_metrics

NOWHERE = "http://127.0.0.1:9"


def tracked(tracking_uri: str, run_dir: Path, **others: Any) -> tuple[JsonLinesTracker, MlflowTracker]:
    journal = JsonLinesTracker(run_dir)
    return journal, MlflowTracker(tracking_uri, "maps", run_dir, tags={"p2p.recipe": "maps"}, **others)


def test_parameters_metrics_and_pictures_arrive_in_the_run(tracking_uri: str, tmp_path: Path) -> None:
    journal, tracker = tracked(tracking_uri, tmp_path / "run")
    tracker.log_parameters({"optimiser.learning_rate": 2e-4, "batch_size": 4, **{f"p{i}": i for i in range(120)}})
    for images_seen in range(10, 60, 10):
        journal.log_metrics({"generator_l1": 100.0 / images_seen, "discriminator_loss": 0.5}, images_seen)
    picture = tmp_path / "00000050.png"
    picture.write_bytes(b"picture")
    tracker.log_picture("sheets/00000050.png", picture)
    journal.close()
    tracker.finish("FINISHED")
    run_id = tracker.run_id
    assert run_id is not None

    client = connect(tracking_uri)
    run = connect(tracking_uri).get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["batch_size"] == "4"
    assert len(run.data.params) == 122
    history = client.get_metric_history(run_id, "generator_l1")
    assert [(metric.step, metric.value) for metric in history] == [(i, 100.0 / i) for i in range(10, 60, 10)]
    assert [artifact.path for artifact in client.list_artifacts(run_id, "sheets")] == ["sheets/00000050.png"]
    assert run.info.artifact_uri.startswith((tmp_path / "mlflow" / "mlartifacts").as_uri())


def test_the_dataset_is_an_input_of_the_run_and_opens_from_there(tracking_uri: str, tmp_path: Path, pair_store: Path) -> None:
    import mlflow.data
    from mlflow.data.schema import TensorDatasetSchema

    journal, tracker = tracked(tracking_uri, tmp_path / "run", store=PairStore.open(pair_store))
    journal.close()
    tracker.finish("FINISHED")
    assert tracker.run_id is not None

    (entry,) = connect(tracking_uri).get_run(tracker.run_id).inputs.dataset_inputs
    manifest, dataset = PairStore.open(pair_store).manifest, entry.dataset
    assert [(tag.key, tag.value) for tag in entry.tags] == [("mlflow.data.context", "training")]
    assert (dataset.name, dataset.digest) == ("store", manifest.digest[:16])
    assert PairStore.open(Path(mlflow.data.get_source(entry).load())).manifest == manifest
    schema = TensorDatasetSchema.from_dict(json.loads(dataset.schema))
    assert [spec.name for part in (schema.features, schema.targets) for spec in part.inputs] == ["input", "target"]
    assert [spec.shape for part in (schema.features, schema.targets) for spec in part.inputs] == [(-1, 72, 72, 3)] * 2
    profile = json.loads(dataset.profile)
    assert [profile[name] for name in ("num_train", "num_val", "num_test")] == [48, 8, 8]
    assert (profile["input_encoding"], profile["target_encoding"], profile["digest"]) == ("rgb", "rgb", manifest.digest)
    version = PairStore.open(pair_store).version_path
    assert profile["size_bytes"] + (version / "manifest.json").stat().st_size == sum(
        path.stat().st_size for path in version.rglob("*") if path.is_file()
    )


def test_a_dataset_is_logged_once_however_often_a_run_resumes(tracking_uri: str, tmp_path: Path, pair_store: Path) -> None:
    version = PairStore.open(pair_store).version_path
    for data in (pair_store, pair_store, version):
        journal, tracker = tracked(tracking_uri, tmp_path / "run", store=PairStore.open(data))
        journal.close()
        tracker.finish("FINISHED")
    assert tracker.run_id is not None
    assert len(connect(tracking_uri).get_run(tracker.run_id).inputs.dataset_inputs) == 1


def test_a_resumed_training_goes_on_in_the_same_run(tracking_uri: str, tmp_path: Path) -> None:
    client, first = start_run(tracking_uri, "maps", tmp_path / "run", tags={})
    client.set_terminated(first, status="KILLED")
    _, second = start_run(tracking_uri, "maps", tmp_path / "run", tags={})
    assert second == first
    assert client.get_run(first).info.status == "RUNNING"


def test_a_run_that_was_deleted_is_not_taken_up_again(tracking_uri: str, tmp_path: Path) -> None:
    client, first = start_run(tracking_uri, "maps", tmp_path / "run", tags={})
    client.delete_run(first)
    _, second = start_run(tracking_uri, "maps", tmp_path / "run", tags={})
    assert second != first
    record = read_run_record(tmp_path / "run")
    assert record is not None
    assert record.run_id == second


def test_what_the_run_has_is_not_sent_again_and_what_it_misses_is(tracking_uri: str, tmp_path: Path) -> None:
    """As after a kill: the run has steps that are taken again, and lost others to a server that was away."""
    journal, tracker = tracked(tracking_uri, tmp_path / "run")
    for images_seen in (10, 20):
        journal.log_metrics({"generator_l1": 100.0 / images_seen}, images_seen)
    journal.close()
    tracker.finish("KILLED")
    journal = JsonLinesTracker(tmp_path / "run", resume_from=10)
    for images_seen in (20, 30):
        journal.log_metrics({"generator_l1": 100.0 / images_seen, "late": 1.0}, images_seen)
    resumed = MlflowTracker(tracking_uri, "maps", tmp_path / "run", tags={})
    journal.close()
    resumed.finish("FINISHED")
    assert resumed.run_id == tracker.run_id is not None
    client = connect(tracking_uri)
    assert [(m.step, m.value) for m in client.get_metric_history(tracker.run_id, "generator_l1")] == [
        (10, 10.0), (20, 5.0), (30, 100.0 / 30),
    ]  # fmt: skip
    assert [m.step for m in client.get_metric_history(tracker.run_id, "late")] == [20, 30]


def test_more_metrics_than_a_call_or_a_part_of_the_file_holds_arrive_with_their_times(
    tracking_uri: str, tmp_path: Path
) -> None:
    journal, tracker = tracked(tracking_uri, tmp_path / "run")
    for images_seen in range(1, 5001):
        journal.log_metrics({"generator_l1": float(images_seen), "other": 2.0}, images_seen)
    times_ms = [round(1000 * m["time_s"]) for m in read_metrics(journal.path)]
    assert journal.path.stat().st_size > 1 << 18
    journal.close()
    tracker.finish("FINISHED")
    assert tracker.run_id is not None
    history = connect(tracking_uri).get_metric_history(tracker.run_id, "generator_l1")
    assert [(m.step, m.value, m.timestamp) for m in history] == [(i + 1, i + 1.0, t) for i, t in enumerate(times_ms)]


def test_a_setting_that_a_resumed_run_has_changed_is_a_tag_beside_the_parameter(tracking_uri: str, tmp_path: Path) -> None:
    for alarms in ("stop", "warn"):
        journal, tracker = tracked(tracking_uri, tmp_path / "run")
        tracker.log_parameters({"alarms": alarms, "seed": 0})
        journal.log_metrics({"generator_l1": 1.0}, 10)
        journal.close()
        tracker.finish("FINISHED")
    assert tracker.run_id is not None
    data = connect(tracking_uri).get_run(tracker.run_id).data
    assert (data.params["alarms"], data.tags["p2p.resumed.alarms"]) == ("stop", "warn")
    assert "p2p.resumed.seed" not in data.tags


def test_a_server_that_is_away_stops_nothing_and_is_told_of_at_the_start_and_the_end(tmp_path: Path) -> None:
    warnings: list[str] = []
    journal, tracker = tracked(NOWHERE, tmp_path / "run", warn=warnings.append, retry_s=0.1)
    for images_seen in range(3):
        journal.log_metrics({"generator_l1": 1.0}, images_seen)
    time.sleep(1)
    journal.close()
    tracker.finish("FINISHED")
    assert tracker.run_id is None
    assert len(warnings) == 2
    assert NOWHERE in warnings[0]
    assert "Training goes on" in warnings[0]
    assert "does not have all of this run" in warnings[1]
    assert "--resume sends what is missing" in warnings[1]


def test_an_address_that_cannot_be_reached_is_named_with_a_remedy() -> None:
    with pytest.raises(ServiceError, match="--tracking-uri"):
        connect(NOWHERE)
    with pytest.raises(ServiceError, match="nonsense"):
        connect("nonsense://host")


def test_reading_does_not_make_a_store_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="There is no MLflow store"):
        connect(f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_database_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be one")
    for place in (tmp_path, tmp_path / "notes.txt"):
        for create in (False, True):
            with pytest.raises(ServiceError, match="is no SQLite database"):
                connect(f"sqlite:///{place}", create=create)


def test_a_store_in_a_read_only_place_is_one_message(small_disk: Callable[[str], Path]) -> None:
    with pytest.raises(OutputError, match=r"mlflow\.db cannot be written: Read-only"):
        connect(f"sqlite:///{small_disk('ro')}/mlflow.db", create=True)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a:b", "a@b", "o'b", 'a"b'])
def test_a_name_that_the_registry_cannot_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        check_model_name(name)
