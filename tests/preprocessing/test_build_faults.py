"""Builds that are killed, run out of disk or may not write."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageEnhance

from p2p_core.errors import OutputError
from p2p_core.pairstore import verify_store
from p2p_core.pairstore.layout import StoreLayout
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit

LAYOUT = StoreLayout(num_buckets=5, pairs_per_shard=4)
SPLIT = NameSplit(fractions=Fractions(train=0.6, val=0.2, test=0.2))
SIDE_BY_SIDE = FoldersParameters(layout="side_by_side")

KILLED = """
import os, signal, sys
from pathlib import Path
import preprocessing.build
from p2p_core.pairstore import writer
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.split import Fractions, NameSplit
from p2p_core.pairstore.layout import StoreLayout

photos, out, deadly_write = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
num_writes = 0

def die_in_the_middle(*event):
    global num_writes
    if event[0] == "open" and str(event[1][0]).endswith(".partial"):
        num_writes += 1
        if num_writes == deadly_write:
            Path(event[1][0]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    if event[0] == "shutil.rmtree" and deadly_write == 0:
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(die_in_the_middle)
fractions = Fractions(train=0.6, val=0.2, test=0.2)
build_dataset(
    FoldersBuilder((photos,), FoldersParameters(layout="side_by_side")), out, NameSplit(fractions=fractions),
    layout=StoreLayout(num_buckets=5, pairs_per_shard=4),
)
print(num_writes)
"""


def run_killed(photos: Path, out: Path, deadly_write: int) -> subprocess.CompletedProcess[str]:
    """Build in a process that dies while it writes its file number `deadly_write`; 0: when all is written, before it cleans."""
    command = [sys.executable, "-c", KILLED, str(photos), str(out), str(deadly_write)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("place", ["shard", "table", "manifest", "current"])
def test_a_build_killed_at_any_file_resumes_to_identical_bytes(tmp_path, photos, place, tree) -> None:
    builder = FoldersBuilder((photos,), SIDE_BY_SIDE)
    build_dataset(builder, tmp_path / "clean", SPLIT, layout=LAYOUT)
    num_files = len(tree(tmp_path / "clean")) - 1  # all but the lock are written atomically
    deadly_write = {"shard": num_files // 2, "table": num_files - 5, "manifest": num_files - 1, "current": num_files}[place]
    out = tmp_path / "killed"
    assert run_killed(photos, out, deadly_write).returncode == -9
    assert not (out / "current").exists()
    assert len(list(out.rglob("*.partial"))) == 1
    summary = build_dataset(builder, out, SPLIT, layout=LAYOUT)
    if place == "shard":
        assert summary.num_buckets_resumed >= 2
        assert summary.num_buckets_built >= 2
    else:
        assert summary.num_buckets_built == 0
    assert tree(out) == tree(tmp_path / "clean")


@pytest.fixture
def photos_seen_twice(photos: Path) -> Path:
    """With eight of them again, a little brighter: in another split they have to move."""
    for number in range(22, 30):
        with Image.open(photos / f"{number:03d}.png") as picture:
            ImageEnhance.Brightness(picture).enhance(1.05).save(photos / f"again{number}.png")
    return photos


@pytest.mark.parametrize("writes_before_the_end", [12, 20, 28])
def test_a_build_killed_while_near_duplicates_move_resumes_to_identical_bytes(
    tmp_path, photos_seen_twice, writes_before_the_end, tree
) -> None:
    builder = FoldersBuilder((photos_seen_twice,), SIDE_BY_SIDE)
    assert build_dataset(builder, tmp_path / "clean", SPLIT, layout=LAYOUT).num_moved >= 2
    num_writes = int(run_killed(photos_seen_twice, tmp_path / "counted", 10**9).stdout)
    out = tmp_path / "killed"
    assert run_killed(photos_seen_twice, out, num_writes - writes_before_the_end).returncode == -9
    assert any(path.name.endswith("-settled") for path in (out / "building").iterdir())
    assert build_dataset(builder, out, SPLIT, layout=LAYOUT).num_buckets_built == 0
    assert tree(out) == tree(tmp_path / "clean")


def test_what_a_build_killed_before_it_cleaned_left_goes_with_the_next_build(tmp_path, photos_seen_twice, tree) -> None:
    builder, out = FoldersBuilder((photos_seen_twice,), SIDE_BY_SIDE), tmp_path / "killed"
    build_dataset(builder, tmp_path / "clean", SPLIT, layout=LAYOUT)
    assert run_killed(photos_seen_twice, out, 0).returncode == -9
    assert list((out / "building").rglob("manifest.json")) == []
    assert list((out / "building").rglob("c/*"))  # the pairs as they lay before near duplicates moved
    assert verify_store(out) == []
    others = out / "building" / "0123456789abcdef" / "buckets" / "00000.json"
    others.parent.mkdir(parents=True)
    others.write_text("of another build, which will go on there")
    assert build_dataset(builder, out, SPLIT, layout=LAYOUT).unchanged
    assert [file for file in (out / "building").rglob("*") if file.is_file()] == [others]
    others.unlink()
    shutil.rmtree(out / "building" / "0123456789abcdef")
    assert build_dataset(builder, out, SPLIT, layout=LAYOUT).unchanged
    assert not (out / "building").exists()
    assert tree(out) == tree(tmp_path / "clean")


@pytest.mark.stress
def test_a_build_killed_at_every_file_resumes_to_identical_bytes(tmp_path, photos, tree) -> None:
    builder = FoldersBuilder((photos,), SIDE_BY_SIDE)
    build_dataset(builder, tmp_path / "clean", SPLIT, layout=LAYOUT)
    expected = tree(tmp_path / "clean")
    for deadly_write in range(1, len(expected)):
        out = tmp_path / f"killed{deadly_write}"
        assert run_killed(photos, out, deadly_write).returncode == -9
        build_dataset(builder, out, SPLIT, layout=LAYOUT)
        assert tree(out) == expected


def test_a_full_disk_is_one_clear_message_and_the_build_goes_on_once_there_is_room(
    tmp_path, made_builder, small_disk, tree
) -> None:
    place = small_disk("size=256k")
    builder = made_builder({f"s{i:02d}": list(range(100 * i, 100 * i + 10)) for i in range(24)})
    with pytest.raises(OutputError, match=r"The disk is full while writing .*disk/store.*run the same command again"):
        build_dataset(builder, place / "store", SPLIT, layout=LAYOUT)
    assert not (place / "store" / "current").exists()
    subprocess.run(["mount", "-o", "remount,size=16m", str(place)], check=True)
    summary = build_dataset(builder, place / "store", SPLIT, layout=LAYOUT)
    assert summary.num_buckets_resumed + summary.num_buckets_built > summary.num_buckets_built > 0
    build_dataset(builder, tmp_path / "clean", SPLIT, layout=LAYOUT)
    assert tree(place / "store") == tree(tmp_path / "clean")


def test_a_read_only_output_is_one_clear_message(made_builder, small_disk) -> None:
    place = small_disk("ro")
    with pytest.raises(OutputError, match=r"disk/store cannot be written: Read-only file system"):
        build_dataset(made_builder({"a": [1, 2], "b": [3]}), place / "store", SPLIT, layout=LAYOUT)


def test_an_output_that_is_in_the_way_is_one_clear_message(tmp_path, made_builder) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is in the way"):
        build_dataset(made_builder({"a": [1, 2], "b": [3]}), tmp_path / "file" / "store", SPLIT, layout=LAYOUT)
    with pytest.raises(OutputError, match="something other than a pair store: file"):
        build_dataset(made_builder({"a": [1, 2], "b": [3]}), tmp_path, SPLIT, layout=LAYOUT)


def test_a_file_larger_than_the_system_allows_is_one_clear_message(tmp_path, made_builder) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written: File too large"):
            build_dataset(made_builder({"a": list(range(40))}), tmp_path / "store", SPLIT, layout=LAYOUT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
