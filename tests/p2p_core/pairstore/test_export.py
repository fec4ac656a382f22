"""A store as pictures: what other programs read there, that killing it harms nothing, and that nothing else is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from p2p_core.errors import OutputError, StoreError, UsageError
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.export import PAIR_ID, export_folders
from p2p_core.pairstore.layout import SPLITS, StoreLayout

Tree = dict[str, bytes]

SLOWLY = """
import sys, time
from pathlib import Path
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.export import export_folders
class Slow:
    def update(self, done, note=""):
        time.sleep(0.02)
export_folders(PairStore.open(Path(sys.argv[1])), Path(sys.argv[2]), progress=Slow())
"""


def tree(root: Path) -> Tree:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def load_aligned(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """As loaders of pix2pix's datasets do: the whole picture as RGB, halved at half its width."""
    with Image.open(path) as picture:
        rgb = picture.convert("RGB")
    width, height = rgb.size
    half = int(width / 2)
    return np.asarray(rgb.crop((0, 0, half, height))), np.asarray(rgb.crop((half, 0, width, height)))


@pytest.fixture
def opened(store: Path) -> PairStore:
    return PairStore.open(store)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_loader_of_side_by_side_pictures_sees_every_pair_in_its_split(opened: PairStore, tmp_path: Path, side: Any) -> None:
    made = export_folders(opened, tmp_path / "out", input_side=side)
    assert made.model_dump() == {"counts": {"train": 19, "val": 6, "test": 6}, "num_there": 0}
    for name in SPLITS:
        files = sorted((tmp_path / "out" / name).iterdir())
        split = opened.split(name)
        assert [file.name for file in files] == sorted(f"{r.pair_id.replace('/', '=2F')}.png" for r in split.records)
        for i, record in enumerate(split.records):
            file = tmp_path / "out" / name / f"{record.pair_id.replace('/', '=2F')}.png"
            with Image.open(file) as picture:
                assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (24, 8))
                assert picture.info[PAIR_ID] == record.pair_id
            left, right = load_aligned(file)
            input_HWC, target_HWC = split.read(i)
            expected = input_HWC, np.repeat(target_HWC, 3, axis=2)  # the target is gray
            np.testing.assert_array_equal(left, expected[side == "right"])
            np.testing.assert_array_equal(right, expected[side == "left"])


def test_an_export_is_the_same_bytes_anywhere_and_a_rerun_writes_no_picture(opened: PairStore, tmp_path: Path) -> None:
    export_folders(opened, tmp_path / "a")
    export_folders(opened, tmp_path / "b" / "c")
    assert tree(tmp_path / "a") == tree(tmp_path / "b" / "c")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*.png")}
    steps: list[tuple[int, str]] = []

    class Steps:
        def update(self, done: int, note: str = "") -> None:
            steps.append((done, note))

    assert export_folders(opened, tmp_path / "a", progress=Steps()).num_there == len(times) == 31
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert steps == [(0, ""), *((done, f"{done} there before") for done in range(1, 32))]


def test_an_export_that_is_killed_leaves_whole_pictures_and_a_rerun_makes_the_rest(store: Path, tmp_path: Path) -> None:
    expected, out = tmp_path / "expected", tmp_path / "out"
    export_folders(PairStore.open(store), expected)
    victim = subprocess.Popen([sys.executable, "-c", SLOWLY, str(store), str(out)])
    deadline = time.monotonic() + 120
    while len(list(out.rglob("*.png"))) < 5:
        assert victim.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    done = sorted(out.rglob("*.png"))
    assert 5 <= len(done) < 31
    assert all(path.read_bytes() == (expected / path.relative_to(out)).read_bytes() for path in done)
    half = done[0].with_name(f".{done[0].name}.{'0' * 32}.partial")  # what a kill in the middle of a picture leaves
    half.write_bytes(done[0].read_bytes()[:99])
    assert tree(out)[".p2p-export.json"] != tree(expected)[".p2p-export.json"], "it does not claim to be complete"

    assert export_folders(PairStore.open(store), out).num_there == len(done)
    assert tree(out) == tree(expected)


@pytest.mark.parametrize(
    "place",
    [
        "train/stranger.png",
        "val/notes.txt",
        "test/.hidden",
        "train/sub/stranger.png",
        f"train/.stranger.png.{'0' * 32}.partial",
    ],
)
def test_a_file_among_the_pictures_that_is_not_of_the_export_stops_it(opened: PairStore, tmp_path: Path, place: str) -> None:
    export_folders(opened, tmp_path / "out")
    missing = min((tmp_path / "out" / "train").glob("*.png"))
    missing.unlink()
    stranger = tmp_path / "out" / place
    stranger.parent.mkdir(exist_ok=True)
    stranger.write_bytes(b"mine")
    before = tree(tmp_path / "out")
    with pytest.raises(OutputError, match=r"is in the way: it is not of this export"):
        export_folders(opened, tmp_path / "out")
    assert tree(tmp_path / "out") == before


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def repaint(path: Path) -> None:
    with Image.open(path) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def replace_by_link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


@pytest.mark.parametrize("harm", [shorten, repaint, replace_by_directory, replace_by_link_to_nothing])
def test_a_picture_that_was_changed_since_is_named_and_stays_as_it_is(
    opened: PairStore, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    export_folders(opened, tmp_path / "out")
    changed = max((tmp_path / "out" / "val").glob("*.png"))
    harm(changed)
    before = {k: v for k, v in tree(tmp_path / "out").items() if not k.startswith(".")}
    with pytest.raises(OutputError, match=rf"{changed.name} is in the way: it does not show the pair"):
        export_folders(opened, tmp_path / "out")
    assert {k: v for k, v in tree(tmp_path / "out").items() if not k.startswith(".")} == before
    assert b'"complete": false' in (tmp_path / "out" / ".p2p-export.json").read_bytes()


def test_a_picture_that_another_compressor_wrote_is_as_good(opened: PairStore, tmp_path: Path) -> None:
    export_folders(opened, tmp_path / "out")
    picture = min((tmp_path / "out" / "test").glob("*.png"))
    with Image.open(picture) as image:
        image.save(picture, compress_level=9)
    assert export_folders(opened, tmp_path / "out").num_there == 31


def test_a_directory_of_something_else_is_not_taken_over(opened: PairStore, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("five years")
    with pytest.raises(OutputError, match=r"thesis\.txt is in the way"):
        export_folders(opened, tmp_path / "out")
    assert tree(tmp_path / "out") == {"thesis.txt": b"five years"}
    with pytest.raises(OutputError, match="is in the way"):
        export_folders(opened, tmp_path / "out" / "thesis.txt")


def test_the_export_of_another_version_or_the_other_way_round_is_refused_before_anything_is_written(
    opened: PairStore, tmp_path: Path, entries: list[Any], layout: StoreLayout, make_store: Callable[..., Any]
) -> None:
    export_folders(opened, tmp_path / "out")
    before = tree(tmp_path / "out")
    make_store(tmp_path / "other", entries[:20], layout)
    for other, side in ((PairStore.open(tmp_path / "other"), "left"), (opened, "right")):
        with pytest.raises(OutputError, match="another dataset or version, or with the halves the other way round"):
            export_folders(other, tmp_path / "out", input_side=side)  # type: ignore[arg-type]
    assert tree(tmp_path / "out") == before


def test_an_export_into_the_store_is_wrong_usage(opened: PairStore, store: Path, version: Path) -> None:
    before = tree(store)
    for place in (store, store / "out", version / "train" / "out", version):
        with pytest.raises(UsageError, match="lies in the store"):
            export_folders(opened, place)
    assert tree(store) == before


def test_an_encoding_without_an_rgb_picture_is_refused_with_its_name(opened: PairStore, tmp_path: Path) -> None:
    """Such as a later program may know."""
    manifest = opened.manifest.model_copy(update={"target_encoding": "bands:5"})
    with pytest.raises(StoreError, match=r"target of .* is encoded as 'bands:5', which this program cannot show as RGB"):
        export_folders(PairStore(opened.version_path, manifest), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_second_export_to_the_same_place_waits_for_nobody(opened: PairStore, store: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = subprocess.Popen([sys.executable, "-c", SLOWLY, str(store), str(out)])
    try:
        while not (out / ".p2p-export.json").exists():
            assert first.poll() is None
            time.sleep(0.01)
        os.kill(first.pid, signal.SIGSTOP)
        with pytest.raises(OutputError, match=r"Another process is exporting to .*out"):
            export_folders(opened, out)
    finally:
        first.kill()
        first.wait()
