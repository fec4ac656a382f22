"""`p2p translate MODEL FILE NAME.png`: one picture for the eye, all or nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.cli import run
from flows.stages.translate import TranslateRequest, translate
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 72, 3), dtype=np.uint8)).save(tmp_path / "photo.jpg")
    return tmp_path / "photo.jpg"


def test_a_picture_has_the_pixels_of_the_archive_and_nothing_else_is_left(bundle: Path, photo: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert run(["translate", str(bundle), str(photo), str(tmp_path / "painted.png")]) == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["painted.png", "photo.jpg"]
    translate(TranslateRequest(model=str(bundle), source=photo, output=tmp_path / "archive"))
    with open_raster(tmp_path / "archive") as archive, Image.open(tmp_path / "painted.png") as painted:
        assert np.array_equal(np.asarray(painted), archive.read(full_window(archive)))


@pytest.mark.parametrize(
    ("source", "output", "code", "told"),
    [
        ("photo.jpg", "photo.png", 1, "photo.png is in the way"),
        ("photo.png", "photo.png", 2, "is the source itself"),
        ("photo.jpg", "painted.jpg", 2, "Name painted.png, or a directory"),
        ("photo.jpg", "painted.TIF", 2, "Name painted.png"),
        ("absent.jpg", "painted.png", 1, "absent.jpg"),
        ("photo.jpg", "photo.jpg/painted.png", 1, "photo.jpg"),
    ],
)
def test_what_cannot_be_written_is_told_and_nothing_is_left(
    source: str,
    output: str,
    code: int,
    told: str,
    bundle: Path,
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.open(photo).save(tmp_path / "photo.png")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(["translate", str(bundle), str(tmp_path / source), str(tmp_path / output)]) == code
    assert told in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
