"""What `build_dataset` shows in Prefect, read back from a real server."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.objects import Artifact

from flows.build_dataset import build_dataset
from flows.services.dataset_artifacts import REJECTED_SHOWN, pairs_sheet, pairs_shown
from flows.stages.build import BuildRequest, SplitRequest, build
from p2p_core.config import replace
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.use import use_version
from preprocessing.drift import DriftError, DriftLimits

GAP_PX, HEADER_PX = 4, 22
NUM_FLAT = REJECTED_SHOWN + 5


@pytest.fixture
def request_30(tmp_path: Path) -> BuildRequest:
    """30 side-by-side pictures of 150x300 px, `NUM_FLAT` of one colour and one that is no picture."""
    rng, pictures = np.random.default_rng(5), tmp_path / "pictures"
    pictures.mkdir()
    for index in range(30):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 10, 3), dtype=np.uint8))
        coarse.resize((300, 150), Image.Resampling.BICUBIC).save(pictures / f"{index:02d}.png")
    for index in range(NUM_FLAT):
        Image.new("RGB", (300, 150), (9, 9, index)).save(pictures / f"flat-{index:02d}.png")
    (pictures / "broken.png").write_bytes(b"no picture")
    parameters = {"layout": "side_by_side"}
    return BuildRequest(
        builder="folders", sources=(pictures,), out=tmp_path / "store", parameters=parameters, split=SplitRequest(kind="name")
    )


def artifacts_of_the_latest_run(out: Path) -> dict[str, Artifact]:
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.parameters["request"]["out"] == str(out)]
        latest = max(runs, key=lambda run: run.created)
        found = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[latest.id])))
    return {str(artifact.key): artifact for artifact in found}


def decoded(markdown: Any) -> NDArray[np.uint8]:
    uri = str(markdown).partition("](data:image/webp;base64,")[2].partition(")")[0]
    with Image.open(io.BytesIO(base64.b64decode(uri, validate=True))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.usefixtures("prefect_api")
def test_a_build_and_one_that_changes_nothing_show_counts_rejections_and_pairs(request_30: BuildRequest) -> None:
    assert not build_dataset(request_30).unchanged
    first = artifacts_of_the_latest_run(request_30.out)
    assert build_dataset(request_30).unchanged
    again = artifacts_of_the_latest_run(request_30.out)
    assert set(first) == {"dataset", "dataset-rejections", "dataset-pairs"}
    assert {key: (a.data, a.description) for key, a in again.items()} == {k: (a.data, a.description) for k, a in first.items()}

    store = PairStore.open(request_30.out)
    counts = {row["what"]: row["count"] for row in json.loads(str(first["dataset"].data))}
    assert counts["train"] == store.manifest.counts["train"]
    rows = json.loads(str(first["dataset-rejections"].data))
    every = [{"reason": r.reason, "item": r.item, "detail": r.detail} for r in store.rejected]
    assert len(every) == NUM_FLAT + 1
    assert len(rows) == REJECTED_SHOWN + 1
    assert all(row in every for row in rows)
    assert f"{len(rows)} of {len(every)}, at most {REJECTED_SHOWN} of each reason" in str(
        first["dataset-rejections"].description
    )

    shown, markdown = pairs_shown(store), str(first["dataset-pairs"].data)
    assert len(markdown) < 200_000
    assert [line.split("  ")[2] for line in markdown.partition("```text\n")[2].splitlines()[:-1]] == [r.pair_id for r in shown]
    sheet = decoded(markdown)
    for row, record in enumerate(shown):
        split = store.split(record.split)
        for column, pixels in enumerate(split.read(split.records.index(record))):
            y, x = HEADER_PX + GAP_PX + row * (75 + GAP_PX), GAP_PX + column * (75 + GAP_PX)
            halved = pixels.reshape(75, 2, 75, 2, 3).mean(axis=(1, 3))
            assert np.abs(sheet[y : y + 75, x : x + 75] - halved).mean() < 4


@pytest.mark.usefixtures("prefect_api")
def test_a_run_fails_where_the_data_drifted_and_shows_by_how_much(request_30: BuildRequest) -> None:
    request = replace(request_30, drift=DriftLimits())
    first = build_dataset(request)
    assert first.drift is None
    for picture in sorted(request.sources[0].glob("0*.png")):
        picture.unlink()
    with pytest.raises(
        DriftError, match=r"sources_gone of sources is 0\.179 .* drift\.rejected, drift\.sources_gone"
    ) as refused:
        build_dataset(request)
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.parameters["request"]["out"] == str(request.out)]
    latest = max(runs, key=lambda run: run.created)
    assert latest.state is not None
    assert latest.state.is_failed()
    assert "drifted from" in str(latest.state.message)
    shown = artifacts_of_the_latest_run(request.out)
    assert [key for key in shown if key.startswith("dataset")] == ["dataset-drift"]
    rows = json.loads(str(shown["dataset-drift"].data))
    assert rows == json.loads(json.dumps(refused.value.drift.rows()))
    assert "sources_gone" in {row["measure"] for row in rows if row["beyond"]}
    assert PairStore.open(request.out).version_path == first.version_path

    use_version(refused.value.drift.after)
    accepted = build_dataset(request)
    assert (accepted.unchanged, accepted.drift) == (True, None)
    (request.sources[0] / "10.png").unlink()
    made = build_dataset(request)
    assert made.drift is not None
    assert made.drift.beyond == ()
    assert set(artifacts_of_the_latest_run(request.out)) == {"dataset", "dataset-rejections", "dataset-pairs", "dataset-drift"}


def test_the_pairs_shown_are_spread_over_the_store_and_stay_the_same(pair_store: Path) -> None:
    store = PairStore.open(pair_store)
    shown = pairs_shown(store)
    assert shown == pairs_shown(PairStore.open(pair_store))
    assert [record.split for record in shown] == ["train", "train", "train", "train", "test"]
    assert (shown[0], shown[-1]) == (store.split("train").records[0], store.split("test").records[-1])


def test_pure_noise_stays_below_200_kb(tmp_path: Path) -> None:
    rng, pictures = np.random.default_rng(5), tmp_path / "pictures"
    pictures.mkdir()
    for index in range(8):
        Image.fromarray(rng.integers(0, 256, (128, 256, 3), dtype=np.uint8)).save(pictures / f"{index}.png")
    build(BuildRequest(builder="folders", sources=(pictures,), out=tmp_path / "store", parameters={"layout": "side_by_side"}))
    store = PairStore.open(tmp_path / "store")
    assert len(pairs_sheet(store, pairs_shown(store)).uri) < 200_000


def test_the_colours_of_classes_are_not_blended_when_a_pair_is_made_smaller(tmp_path: Path) -> None:
    stripes = np.zeros((256, 512, 3), dtype=np.uint8)
    stripes[:, 1::2, 0] = 255
    (tmp_path / "pictures").mkdir()
    Image.fromarray(stripes).save(tmp_path / "pictures" / "one.png")
    parameters = {"layout": "side_by_side", "target_encoding": "palette:000000-ff0000"}
    build(BuildRequest(builder="folders", sources=(tmp_path / "pictures",), out=tmp_path / "store", parameters=parameters))
    store = PairStore.open(tmp_path / "store")
    sheet = decoded(f"![]({pairs_sheet(store, pairs_shown(store)).uri})")
    top = HEADER_PX + GAP_PX + 32
    blended, picked = (sheet[top : top + 64, x : x + 64, 0].mean() for x in (GAP_PX + 32, 2 * GAP_PX + 128 + 32))
    assert abs(blended - 127.5) < 6
    assert picked < 6
