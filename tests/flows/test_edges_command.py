"""`p2p edges` and the flow `edges`: broken photos named and skipped, nothing done twice, one message and never a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
import skimage.data
from prefect.client.orchestration import get_client

from flows.cli import run
from flows.edges import edges
from flows.stages.edges import EdgesRequest
from p2p_core.errors import RasterError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    place = tmp_path / "photos"
    (place / "pets").mkdir(parents=True)
    small = {"astronaut.png": skimage.data.astronaut(), "pets/chelsea.jpg": skimage.data.chelsea()}
    for name, photo_HWC in small.items():
        cv2.imwrite(str(place / name), cv2.resize(photo_HWC[..., ::-1], (96, 96), interpolation=cv2.INTER_AREA))
    return place


def break_one(photos: Path) -> None:
    (photos / "broken.png").write_bytes((photos / "astronaut.png").read_bytes()[:200])


def test_a_broken_photo_is_named_the_others_are_done_and_the_exit_code_says_so(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_one(photos)
    arguments = ["edges", str(photos), str(tmp_path / "edges"), "--workers", "0"]
    assert run(arguments) == 1
    out, err = capsys.readouterr()
    assert "2 made, 0 unchanged, 1 failed" in out
    assert "broken: " in err
    assert "Traceback" not in err
    assert {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "edges").rglob("*.png")} == {
        "edges/astronaut.png",
        "edges/pets/chelsea.png",
    }
    (photos / "broken.png").unlink()
    assert run([*arguments, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["num_made"], made["num_unchanged"], made["failures"]) == (0, 2, [])


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--set", "thinning.treshold=0.2"], 2, "treshold"),
        (["--device", "cuda"], 2, "engine torch"),
        (["--weights", "no-such-file.pth"], 1, "no-such-file.pth"),
        (["--output", "sharp"], 2, "sharp"),
    ],
)
def test_bad_values_are_named(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, words: str
) -> None:
    assert run(["edges", str(photos), str(tmp_path / "edges"), "--workers", "0", *more]) == code
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "edges").exists()


@pytest.mark.usefixtures("prefect_api")
def test_the_flow_draws_what_it_can_and_then_fails_with_the_photos_it_left_out(photos: Path, tmp_path: Path) -> None:
    break_one(photos)
    request = EdgesRequest(photos=photos, out=tmp_path / "edges")
    with pytest.raises(RasterError, match="1 of 3 photos have no edges; broken, for one"):
        edges(request)
    assert len(list((tmp_path / "edges").rglob("*.png"))) == 2
    with get_client(sync_client=True) as client:
        run = next(run for run in client.read_flow_runs() if run.parameters["request"].get("photos") == str(photos))
    assert run.state is not None
    assert run.state.is_failed()
    (photos / "broken.png").unlink()
    assert edges(request).num_unchanged == 2
