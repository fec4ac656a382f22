"""A directory of photos to one of edges: only what is new, nothing half-written, no foreign file touched."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from p2p_core.errors import EmptySourceError, OutputError, PairingError, UsageError, WeightsError
from preprocessing.edges.detect import DetectorConfig, WeightsChoice
from preprocessing.edges.directory import EdgesSummary, draw_edges
from preprocessing.edges.drawing import EdgesConfig, edge_picture
from preprocessing.edges.thinning import ThinningConfig

PROBABILITY = EdgesConfig(output="probability", detector=DetectorConfig(padding_px=16))
TORCH = DetectorConfig(padding_px=16, engine="torch")
NAMES = ["a", "b/c", "b/d/e", "f", "g", "h", "i"]

KILLED = """
import os, signal, sys
from pathlib import Path
from preprocessing.edges.detect import WeightsChoice
from preprocessing.edges.directory import draw_edges
from preprocessing.edges.drawing import EdgesConfig

photos, out, weights, config, deadly_write = sys.argv[1:]
num_writes = 0

def die_in_the_middle(*event):
    global num_writes
    if event[0] == "open" and str(event[1][0]).endswith(".partial"):
        num_writes += 1
        if num_writes == int(deadly_write):
            Path(event[1][0]).write_bytes(b"half of")
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die_in_the_middle)
draw_edges(Path(photos), Path(out), EdgesConfig.model_validate_json(config), WeightsChoice.model_validate_json(weights))
"""


class Backwards:
    """Results come in another order than the items."""

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        return map(function, list(items)[::-1])


@pytest.fixture
def album(tmp_path, picture, save_picture) -> Path:
    """Seven photos of two sizes, some in subdirectories."""
    for seed, name in enumerate(NAMES):
        save_picture(tmp_path / "album" / f"{name}.png", picture(24 + 8 * (seed % 2), 40, seed))
    return tmp_path / "album"


@pytest.fixture
def draw(album, tmp_path, tiny_choice) -> Callable[..., EdgesSummary]:
    return lambda out=tmp_path / "edges", config=PROBABILITY, **values: draw_edges(album, out, config, tiny_choice, **values)


def times(root: Path) -> dict[str, int]:
    return {path.relative_to(root).as_posix(): path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}


def counts(summary: EdgesSummary) -> tuple[int, int, int]:
    return summary.num_made, summary.num_unchanged, len(summary.failures)


def test_every_photo_has_a_picture_of_its_name_with_its_edges(draw, album, tmp_path, tiny_detector) -> None:
    assert counts(draw()) == (7, 0, 0)
    assert set(times(tmp_path / "edges")) == {f"{name}.png" for name in NAMES}
    detector = tiny_detector(padding_px=16)
    for name in NAMES:
        probability_HW = detector.probability(np.asarray(Image.open(album / f"{name}.png")))
        found_HW = np.asarray(Image.open(tmp_path / "edges" / f"{name}.png"))
        np.testing.assert_array_equal(found_HW, edge_picture(probability_HW, PROBABILITY))


def test_a_second_run_makes_nothing_and_touches_nothing(draw, tmp_path, tree) -> None:
    first = draw()
    before, bytes_before = times(tmp_path / "edges"), tree(tmp_path / "edges")
    second = draw()
    assert counts(second) == (0, 7, 0)
    assert (second.key, second.weights_sha256, second.num_photos) == (first.key, first.weights_sha256, 7)
    assert times(tmp_path / "edges") == before
    assert tree(tmp_path / "edges") == bytes_before


def test_only_a_changed_or_new_photo_and_a_lost_picture_are_redone(draw, album, tmp_path, picture, save_picture) -> None:
    draw()
    before = times(tmp_path / "edges")
    save_picture(album / "f.png", picture(24, 40, 99))
    save_picture(album / "new.png", picture(24, 40, 98))
    (tmp_path / "edges" / "b" / "c.png").unlink()
    assert counts(draw()) == (3, 5, 0)
    after = times(tmp_path / "edges")
    assert {name for name in after if after[name] != before.get(name)} == {"f.png", "new.png", "b/c.png"}


def test_the_torch_engine_draws_the_same_pictures(draw, tmp_path) -> None:
    """To a grey level: the engines' sums are taken in another order."""
    draw()
    assert counts(draw(tmp_path / "torch", EdgesConfig(output="probability", detector=TORCH))) == (7, 0, 0)
    for name in NAMES:
        by_ncnn, by_torch = (
            np.asarray(Image.open(tmp_path / place / f"{name}.png")).astype(int) for place in ("edges", "torch")
        )
        assert by_ncnn.std() > 0
        assert np.abs(by_ncnn - by_torch).max() <= 1


def test_other_parameters_or_weights_redo_everything(draw, album, tmp_path, tiny) -> None:
    draw()
    inverted = PROBABILITY.model_copy(update={"background": "black"})
    assert counts(draw(config=inverted)) == (7, 0, 0)
    assert counts(draw(config=inverted)) == (0, 7, 0)
    other = tiny(2).save_keras(tmp_path / "other.h5")
    assert counts(draw_edges(album, tmp_path / "edges", inverted, other)) == (7, 0, 0)


def test_what_is_no_photo_is_reported_and_the_rest_is_made(draw, album, tmp_path) -> None:
    whole = (album / "a.png").read_bytes()
    (album / "a.png").write_bytes(whole[: len(whole) // 2])
    (album / "g.png").write_bytes(b"")
    (album / "text.jpg").write_text("this is no picture")
    summary = draw()
    assert counts(summary) == (5, 0, 3)
    assert {(item.item, item.reason) for item in summary.failures} == {
        ("a", "truncated"),
        ("g", "empty"),
        ("text", "unreadable"),
    }
    assert not {"a.png", "g.png", "text.png"} & set(times(tmp_path / "edges"))
    (album / "a.png").write_bytes(whole)
    (album / "text.jpg").unlink()
    assert counts(draw()) == (1, 5, 1)
    assert "a.png" in times(tmp_path / "edges")


@pytest.mark.parametrize("content", ["a picture", "text", "directory"])
def test_a_file_of_somebody_else_is_left_alone(draw, tmp_path, picture, save_picture, content) -> None:
    place = tmp_path / "edges" / "f.png"
    place.parent.mkdir()
    if content == "a picture":
        save_picture(place, picture(5, 5, 1))
    elif content == "text":
        place.write_text("mine")
    else:
        place.mkdir()
    before = None if place.is_dir() else place.read_bytes()
    summary = draw()
    assert counts(summary) == (6, 0, 1)
    assert (summary.failures[0].item, summary.failures[0].reason) == ("f", "in_the_way")
    assert before is None or place.read_bytes() == before


def test_edges_among_the_photos_are_refused_however_the_place_is_written(draw, album, tmp_path, monkeypatch) -> None:
    (tmp_path / "link").symlink_to(album)
    monkeypatch.chdir(album)
    for out in (album, album / "edges", tmp_path / "link" / "edges", Path("edges"), tmp_path / "x" / ".." / "album" / "edges"):
        with pytest.raises(UsageError, match="the next run would take edges for photos"):
            draw(out)
    assert set(times(album)) == {f"{name}.png" for name in NAMES}


def test_a_name_that_leads_back_among_the_photos_is_refused(album, tmp_path, tiny_choice) -> None:
    (album / "album").mkdir()
    (album / "a.png").rename(album / "album" / "x.png")
    with pytest.raises(UsageError, match="the next run would take edges for photos"):
        draw_edges(album, tmp_path, PROBABILITY, tiny_choice)


def test_a_place_beside_the_photos_may_be_reached_through_them(draw, album, tmp_path) -> None:
    assert counts(draw(album / ".." / "beside")) == (7, 0, 0)
    assert (tmp_path / "beside" / "a.png").is_file()


def test_two_photos_of_one_name_no_photos_and_bad_weights_stop_before_anything_is_made(draw, album, tmp_path) -> None:
    with pytest.raises(WeightsError, match="is no weights file"):
        draw_edges(album, tmp_path / "edges", PROBABILITY, WeightsChoice(path=tmp_path))
    (album / "a.jpg").write_bytes((album / "a.png").read_bytes())
    with pytest.raises(PairingError, match=r"a\.jpg and .*a\.png have one name"):
        draw()
    with pytest.raises(EmptySourceError, match="is not a directory"):
        draw_edges(tmp_path / "nowhere", tmp_path / "edges", PROBABILITY, WeightsChoice())
    assert not (tmp_path / "edges").exists()


def test_a_read_only_output_is_one_clear_message(draw, small_disk) -> None:
    place = small_disk("ro")
    with pytest.raises(OutputError, match=r"disk/edges/a\.png cannot be written: Read-only file system"):
        draw(place / "edges")


def test_a_full_disk_keeps_what_was_made_and_leaves_no_half_of_a_picture(draw, small_disk) -> None:
    place = small_disk("size=16k")
    with pytest.raises(OutputError, match="The disk is full"):
        draw(place / "edges")
    for path in (place / "edges").rglob("*"):
        assert path.is_dir() or Image.open(path).load()


@pytest.mark.parametrize("deadly_write", [1, 4, 7])
def test_a_killed_run_leaves_whole_pictures_and_the_next_one_completes_it(
    draw, album, tmp_path, tiny_choice, tree, deadly_write
) -> None:
    draw(tmp_path / "clean")
    out = tmp_path / "killed"
    arguments = [album, out, tiny_choice.model_dump_json(), PROBABILITY.model_dump_json(), deadly_write]
    command = [sys.executable, "-c", KILLED, *map(str, arguments)]
    assert subprocess.run(command, check=False, timeout=120).returncode == -signal.SIGKILL
    expected = tree(tmp_path / "clean")
    pictures = {name: data for name, data in tree(out).items() if name.endswith(".png")}
    assert len(pictures) == deadly_write - 1
    assert pictures.items() <= expected.items()
    assert counts(draw(out)) == (8 - deadly_write, deadly_write - 1, 0)
    assert {name: data for name, data in tree(out).items() if name.endswith(".png")} == expected


def test_any_executor_and_order_make_the_same_bytes_and_report(draw, album, tmp_path, tree) -> None:
    for name in ("a", "h", "i"):
        (album / f"{name}.png").write_bytes(b"")
    summary = draw(tmp_path / "serial")
    backwards = draw(tmp_path / "backwards", executor=Backwards())
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
        processes = draw(tmp_path / "processes", executor=executor)
    assert [item.item for item in summary.failures] == ["a", "h", "i"]
    for other, place in ((backwards, "backwards"), (processes, "processes")):
        assert tree(tmp_path / place) == tree(tmp_path / "serial")
        assert other.model_copy(update={"elapsed_s": summary.elapsed_s}) == summary


def test_a_photo_between_two_others_is_the_photo_alone(draw, album, tmp_path, tree) -> None:
    """Batches of other photos are other batches, not other pictures."""
    draw()
    expected = tree(tmp_path / "edges")["g.png"]
    for name in NAMES:
        if name != "g":
            (album / f"{name}.png").unlink()
    draw(tmp_path / "alone")
    assert tree(tmp_path / "alone") == {"g.png": expected}


def test_progress_counts_photos_to_the_end_and_tells_of_failures(draw, album) -> None:
    (album / "g.png").write_bytes(b"")
    seen: list[tuple[int, str]] = []

    class Seen:
        def update(self, done: int, note: str = "") -> None:
            seen.append((done, note))

    draw(progress=Seen())
    assert [done for done, _ in seen] == [4, 7]
    assert seen[-1][1] == "1 failed"


def test_photos_whose_workers_kept_dying_are_failures_with_a_reason(draw) -> None:
    class Loses:
        def map(self, function: Any, items: Iterable[Any], /) -> Iterator[Any]:
            return (function.lost(item, "were given up") for item in items)

    summary = draw(executor=Loses())
    assert counts(summary) == (0, 0, 7)
    assert summary.failures[0].reason == "lost"
    assert "Together with 3 others were given up" in summary.failures[0].detail


def test_the_published_network_draws_lines(photo, save_picture, tmp_path) -> None:
    save_picture(tmp_path / "photos" / "cat.jpg", photo("chelsea", 96, 128))
    summary = draw_edges(tmp_path / "photos", tmp_path / "edges", EdgesConfig(thinning=ThinningConfig()), WeightsChoice())
    assert counts(summary) == (1, 0, 0)
    assert json.loads(summary.model_dump_json())["weights_sha256"] == summary.weights_sha256
    assert np.unique(np.asarray(Image.open(tmp_path / "edges" / "cat.png"))).tolist() == [0, 255]
