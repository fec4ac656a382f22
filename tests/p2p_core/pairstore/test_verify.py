from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2p_core.errors import StoreError
from p2p_core.files import Problem
from p2p_core.pairstore import verify_store


def files_of(version: Path) -> list[Path]:
    return sorted(path for path in version.rglob("*") if path.is_file())


def test_an_intact_store_has_no_problems(store: Path, version: Path) -> None:
    assert verify_store(store) == []
    assert verify_store(version) == []


def test_a_flipped_bit_in_any_file_is_found_and_named(store: Path, version: Path) -> None:
    rng = random.Random(0)
    for file in files_of(version):
        data = file.read_bytes()
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        place = file.relative_to(store).as_posix()
        assert [problem.path for problem in verify_store(store)] == [place]
        assert [f"{version.relative_to(store)}/{p.path}" for p in verify_store(version)] == [place]
        file.write_bytes(data)
    assert verify_store(store) == []


def test_any_truncated_deleted_or_added_file_is_found_and_named(version: Path) -> None:
    for file in files_of(version):
        data, name = file.read_bytes(), file.relative_to(version).as_posix()
        if name == "manifest.json":
            continue
        file.write_bytes(data[:-1])
        assert verify_store(version) == [Problem(name, f"has {len(data) - 1} bytes instead of {len(data)}")]
        file.unlink()
        assert verify_store(version) == [Problem(name, "is missing")]
        file.write_bytes(data)
    stranger = version / "train" / "input" / "c" / "77" / "0" / "0" / "0"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"")
    assert verify_store(version) == [Problem("train/input/c/77/0/0/0", "is not in the manifest")]


def test_two_files_that_changed_places_are_both_found(version: Path) -> None:
    one, other, *_ = (path for path in files_of(version) if "/c/" in path.as_posix())
    swap = version.parent / "swap"
    one.rename(swap)
    other.rename(one)
    swap.rename(other)
    assert [problem.path for problem in verify_store(version)] == [p.relative_to(version).as_posix() for p in (one, other)]


def test_a_version_in_anothers_place_is_found(store: Path, version: Path) -> None:
    version.rename(version.with_name("0123456789abcdef"))
    (store / "current").write_text("0123456789abcdef\n")
    assert [problem.path for problem in verify_store(store)] == ["versions/0123456789abcdef/manifest.json"]


def test_a_version_without_manifest_and_a_wrong_current_are_found(store: Path, version: Path) -> None:
    copy = version.with_name("half")
    shutil.copytree(version, copy)
    (copy / "manifest.json").unlink()
    (store / "current").write_text("gone\n")
    problems = verify_store(store)
    assert [problem.path for problem in problems] == ["current", "versions/half/manifest.json"]
    assert "no manifest.json" in problems[1].what


def test_what_is_no_store_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not a pair store"):
        verify_store(tmp_path / "nowhere")


def test_a_current_that_is_no_text_or_no_file_is_found(store: Path, version: Path) -> None:
    for bit in range(8):
        name = bytearray(version.name.encode())
        name[0] ^= 1 << bit
        (store / "current").write_bytes(name)
        assert [problem.path for problem in verify_store(store)] == ["current"]
    for num_bad, path in enumerate([store / "current", version / "manifest.json"], start=1):
        path.unlink()
        path.mkdir()
        assert len(verify_store(store)) == num_bad


@pytest.fixture(scope="module")
def damaged(written_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small store, which every example leaves as it was."""
    return Path(shutil.copytree(written_store, tmp_path_factory.mktemp("damaged") / "store"))


def bad(store: Path) -> list[str]:
    return [problem.path for problem in verify_store(store)]


def written_files(store: Path) -> list[Path]:
    """All but the lock, which holds nothing."""
    return [file for file in files_of(store) if file.name != ".lock"]


@settings(max_examples=60)
@given(st.data())
def test_any_change_of_any_byte_of_any_file_is_found_and_the_file_named(damaged: Path, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(written_files(damaged)))
    content = file.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != content[place]))
    file.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
    try:
        found = bad(damaged)
    finally:
        file.write_bytes(content)
    assert found == [file.relative_to(damaged).as_posix()]
    assert bad(damaged) == []


@settings(max_examples=25)
@given(st.data())
def test_any_truncation_deletion_swap_or_addition_is_found_and_named(damaged: Path, data: st.DataObject) -> None:
    files = [file for file in written_files(damaged) if file.name != "current"]
    file = data.draw(st.sampled_from(files))
    content, name = file.read_bytes(), file.relative_to(damaged).as_posix()
    try:
        file.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
        assert bad(damaged) == [name]
        file.unlink()
        assert bad(damaged) == [*(["current"] if file.name == "manifest.json" else []), name]
        other = data.draw(st.sampled_from([each for each in files if each != file and each.read_bytes() != content]))
        others = other.read_bytes()
        file.write_bytes(others)
        other.write_bytes(content)
        swapped = bad(damaged)
        other.write_bytes(others)
        file.write_bytes(content)
        manifest = "manifest.json" in (file.name, other.name)  # without it nothing else of the version can be judged
        both = {path.relative_to(damaged).as_posix() for path in (file, other)}
        assert set(swapped) == ({path for path in both if path.endswith("manifest.json")} if manifest else both)
        stranger = data.draw(st.sampled_from([damaged, *{path.parent for path in files}])) / "stranger"
        stranger.write_bytes(b"")
        assert bad(damaged) == [stranger.relative_to(damaged).as_posix()]
        stranger.unlink()
    finally:
        file.write_bytes(content)
    assert bad(damaged) == []
