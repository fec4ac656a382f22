"""The demo's values fit the images it is made for. `make demo` runs it; `tests/end_to_end` runs its flow."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from PIL import Image

from flows.demo import SOUTH_AMERICA, demo_images, demo_request
from flows.steps.data import build_photo_pairs
from flows.steps.summary import ways_to_look
from p2p_core.config import replace
from p2p_core.errors import MissingDependencyError
from p2p_core.rasters.mercator import tiles_covering
from preprocessing.maps import MapsParameters


@pytest.fixture(autouse=True)
def installed() -> None:
    try:
        demo_images()
    except MissingDependencyError as error:
        pytest.skip(str(error))


def test_the_images_are_the_whole_globe_at_two_scales() -> None:
    sizes = []
    for path in demo_images():
        with Image.open(path) as image:
            sizes.append(image.size)
    assert sizes == [(10800, 5400), (5400, 2700)]


def test_the_region_is_a_whole_number_of_tiles_and_over_a_thousand_pixels_wide() -> None:
    tiles = tiles_covering(SOUTH_AMERICA, demo_request(Path("out")).zoom)
    assert {(tile.x, tile.y) for tile in tiles} == {(x, y) for x in range(3, 7) for y in range(7, 11)}
    px_per_degree = 5400 / 360
    assert (SOUTH_AMERICA.east - SOUTH_AMERICA.west) * px_per_degree >= 1024
    assert (SOUTH_AMERICA.north - SOUTH_AMERICA.south) * px_per_degree >= 1024


def test_a_budget_is_chosen_by_images_or_else_by_minutes() -> None:
    by_minutes, by_images = demo_request(Path("out"), minutes=2.0), demo_request(Path("out"), images=100)
    assert (by_minutes.minutes, by_minutes.images) == (2.0, None)
    assert (by_images.minutes, by_images.images) == (None, 100)


def test_the_builder_takes_the_demos_parameters() -> None:
    parameters = MapsParameters.parse(demo_request(Path("out")).parameters, where="demo")
    assert parameters.water is not None


def test_the_commands_to_look_at_a_demo_can_be_copied_from_any_directory() -> None:
    ways = ways_to_look(demo_request(Path("/tmp/my demo's output")))
    words = [shlex.split(way) for way in ways[1:]]
    assert words[0][-1] == "sqlite:////tmp/my demo's output/mlflow.db"
    assert words[1][0] == "PREFECT_HOME=/tmp/my demo's output/prefect"
    assert words[2][1:] == ["verify", "/tmp/my demo's output/scene"]
    programs = [Path(program) for program in (words[0][0], words[1][1], words[2][0])]
    assert [program.name for program in programs] == ["mlflow", "prefect", "p2p"]
    assert all(program.is_file() for program in programs)


def test_the_demo_tells_each_of_its_datasets_all_that_a_card_can_say(tmp_path: Path) -> None:
    request = demo_request(tmp_path)
    assert None not in (*dict(request.about).values(), *dict(request.photos_about, title="").values())
    photos = tuple(photo for photo in request.photos if photo.name in ("china.jpg", "chelsea.png"))
    build_photo_pairs(replace(request, photos=photos), "colour")
    croissant = json.loads((tmp_path / "colour" / "card" / "croissant.json").read_bytes())
    assert {"license", "creator", "citeAs", "url", "datePublished"} <= set(croissant)
