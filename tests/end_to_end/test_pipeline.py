"""The whole path on a small made-up world: killed midway, run again, and run a third time with nothing left to do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import rasterio
import skimage
from numpy.typing import NDArray
from PIL import Image
from prefect.client.orchestration import get_client

from flows.services.models import resolve_model
from flows.stages.build import SplitRequest
from flows.stages.executors import Workers
from flows.steps.request import PipelineRequest
from flows.verify import verify_any
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.reader import PairStore
from p2p_core.rasters.grid import Bounds

REGION = Bounds(-45.0, 0.0, 0.0, 40.97989806962013)
"""The Web Mercator tile 3/3/3."""
PX_PER_DEGREE = 2
SETTINGS = (
    "generator.depth=2",
    "generator.base_width=8",
    "generator.dropout=0",
    "discriminator.num_layers=2",
    "discriminator.base_width=4",
    "optimiser.learning_rate=0.002",
    "augment.resize_px=null",
    "augment.crop_px=32",
    "batch_size=4",
    "log_every_images=20",
    "checkpoint_every_images=40",
    "validate_every_images=200",
)
PROGRAM = """
import json, sys
from pathlib import Path
from flows.pipeline import pipeline
from flows.steps.request import PipelineRequest
from p2p_core.errors import P2PError
if __name__ == "__main__":
    request = PipelineRequest.parse(json.loads(Path(sys.argv[1]).read_text()), where="request")
    try:
        for kept in sys.argv[2:]:
            pipeline(request)
            (request.out / "demo.json").replace(kept)
    except P2PError as error:
        sys.exit(f"Error: {error}")
"""


@dataclass(frozen=True)
class Ran:
    """What was seen of the three runs."""

    request: PipelineRequest
    left_by_the_kill: list[str]
    second: dict[str, Any]
    third: dict[str, Any]


def make_world(place: Path) -> tuple[Path, Path]:
    """A map of 1440x720 px and, at half its size, an aerial view: its colours mixed and folded, so that no affine map fits."""
    rng = np.random.default_rng(3)
    height_px, width_px = 180 * PX_PER_DEGREE, 360 * PX_PER_DEGREE
    coarse: NDArray[np.float64] = rng.normal(128, 70, (height_px // 6, width_px // 6, 3))
    world = cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    mixed = world @ np.array([[0.2, 0.7, 0.1], [0.6, 0.2, 0.2], [0.2, 0.1, 0.7]])
    aerial = (255 - 2 * np.abs(mixed - 128)).clip(0, 255).astype(np.uint8)
    Image.fromarray(cv2.resize(world, (2 * width_px, 2 * height_px))).save(place / "map.png")
    Image.fromarray(aerial).save(place / "aerial.png")
    return place / "map.png", place / "aerial.png"


def make_request(place: Path) -> PipelineRequest:
    map_image, aerial_image = make_world(place)
    return PipelineRequest(
        out=place / "out",
        map_image=map_image,
        aerial_image=aerial_image,
        region=REGION,
        zoom=3,
        model_name="made-up-world",
        parameters={"tile_px": 32, "source_px": 128},
        split=SplitRequest(kind="block", block_px=64, wraps=True),
        layout=StoreLayout(num_buckets=4, pairs_per_shard=32),
        recipe="maps",
        settings=SETTINGS,
        images=400,
        core_px=64,
        shard_px=64,
        chunk_px=64,
        workers=Workers(count=0),
        photos=(Path(skimage.data_dir) / "astronaut.png", Path(skimage.data_dir) / "coffee.png"),
    )


def start(request: PipelineRequest, place: Path, *kept: Path) -> subprocess.Popen[str]:
    """Run the pipeline once for each of `kept`, where its demo.json then lies."""
    (place / "request.json").write_text(request.model_dump_json())
    (place / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(place / "program.py"), str(place / "request.json"), *map(str, kept)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_when_training(process: subprocess.Popen[str], out: Path) -> list[str]:
    """SIGKILL once a checkpoint is there; the training processes that outlive it by more than some seconds."""
    while not list((out / "run").glob("checkpoints/*/checkpoint.json")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    _, alive = psutil.wait_procs(children, timeout=20)
    return [" ".join(child.cmdline()) for child in alive]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, prefect_api: str) -> Ran:
    place = tmp_path_factory.mktemp("world")
    request = make_request(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_api)
        patch.setenv("OMP_NUM_THREADS", "1")
        left = kill_when_training(start(request, place, place / "first.json"), request.out)
        second, third = place / "second.json", place / "third.json"
        process = start(request, place, second, third)
        output, _ = process.communicate(timeout=250)
        assert process.returncode == 0, output
    return Ran(request, left, json.loads(second.read_text()), json.loads(third.read_text()))


def test_a_killed_pipeline_leaves_no_process_behind(ran: Ran) -> None:
    assert ran.left_by_the_kill == []


def test_the_rerun_of_a_killed_pipeline_goes_on_and_completes(ran: Ran) -> None:
    steps = {step["name"]: step for step in ran.second["steps"]}
    assert [name for name, step in steps.items() if step["reused"]] == ["sources", "build", "edges", "colour"]
    assert "resumed at" in steps["train"]["detail"]
    result = json.loads((ran.request.out / "run" / "result.json").read_text())
    assert result["resumed_from"] >= 40
    assert result["images_seen"] == 400


def test_every_dataset_is_shown_in_prefect_and_again_where_it_was_reused(ran: Ran) -> None:
    with get_client(sync_client=True) as client:
        shown = [artifact for artifact in client.read_artifacts() if str(ran.request.out) in str(artifact.description)]
    for place in ("pairs", "edges", "colour"):
        of = [artifact.key for artifact in shown if f"{ran.request.out / place}, dataset" in str(artifact.description)]
        for key in ("dataset", "dataset-rejections", "dataset-pairs"):
            assert of.count(key) >= 2, (place, key)


def test_a_third_run_reuses_everything_and_says_so(ran: Ran) -> None:
    assert all(step["reused"] for step in ran.third["steps"])
    assert ran.third["digests"] == ran.second["digests"]
    assert ran.third["total_s"] < ran.second["total_s"]


def test_the_report_opens_without_a_network_and_shows_every_part(ran: Ran) -> None:
    page = (ran.request.out / "report.html").read_text()
    assert "http-equiv" not in page or "Content-Security-Policy" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert "is absent" not in page
    for shown in ("made-up-world", "reused", *(digest[:12] for digest in ran.third["digests"].values())):
        assert shown in page


def test_no_pair_of_any_split_touches_the_region(ran: Ran) -> None:
    store = PairStore.open(ran.request.out / "pairs")
    region = Window(
        y_px=int((90 - REGION.north) * PX_PER_DEGREE),
        x_px=int((REGION.west + 180) * PX_PER_DEGREE),
        height_px=int(REGION.north * PX_PER_DEGREE) + 1,
        width_px=45 * PX_PER_DEGREE,
    )
    assert {record.split for record in store.pairs} == {"train", "val", "test"}
    assert not [record.pair_id for record in store.pairs if record.window is not None and record.window.overlaps(region)]
    assert store.manifest.rejected["reserved"] > 0


def test_the_champion_beat_the_affine_fit_and_painted_the_region(ran: Ran) -> None:
    out = ran.request.out
    scores = json.loads((out / "evaluation" / "evaluation.json").read_text())["scores"]
    assert scores["model"]["l1"] < scores["affine"]["l1"]
    assert ran.second["promoted"]
    assert json.loads((out / "promotion.json").read_text())["promoted"]
    champion = resolve_model("models:/made-up-world@champion", tracking_uri=ran.request.tracking, cache=out / "models")
    assert champion.uri == ran.second["model"] == "models:/made-up-world/1"
    job = json.loads((out / "scene" / "job.json").read_text())
    assert (job["model_version"], job["bundle_digest"]) == ("1", champion.digest)


def test_both_outputs_lie_where_their_sources_lie_by_another_reader(ran: Ran) -> None:
    out = ran.request.out
    with rasterio.open(out / "sources" / "scene.tif") as source, rasterio.open(out / "scene.tif") as exported:
        assert (exported.crs, exported.transform, exported.shape) == (source.crs, source.transform, source.shape)
        assert exported.crs.to_string() == "EPSG:4326"
        assert exported.read().std() > 1
    with Image.open(out / "xyz-tiles" / "3" / "3" / "3.png") as tile:
        assert (tile.size, tile.mode) == ((256, 256), "RGB")
    assert [path.name for path in (out / "xyz-tiles").rglob("*.png")] == ["3.png"]


@pytest.mark.parametrize("part", ["pairs", "run/bundle", "scene", "xyz"])
def test_everything_that_was_made_verifies(ran: Ran, part: str) -> None:
    _, problems = verify_any(ran.request.out / part)
    assert problems == []


def test_the_training_is_one_finished_run_in_mlflow(ran: Ran) -> None:
    from flows.services.mlflow_client import connect

    client = connect(ran.request.tracking)
    experiment = client.get_experiment_by_name("made-up-world")
    runs = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"]
    assert runs[0].data.params["recipe"] == "maps"
    assert runs[0].data.metrics["generator_l1"] > 0
    assert [entry.dataset.name for entry in runs[0].inputs.dataset_inputs] == ["pairs"]
    assert client.list_artifacts(runs[0].info.run_id, "sheets")
