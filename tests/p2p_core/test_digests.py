"""Digests of files that are remembered while nothing was done to the files."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from p2p_core.digests import DigestMemory, file_digest, remembered_digests
from p2p_core.files import sha256_bytes, sha256_file

OLD_S = 10


@pytest.fixture
def old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that was written a while ago: nobody can set the time of change, so the clock goes ahead."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    now_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now_ns() + OLD_S * 10**9)
    return path


def remembered(memory: Path, path: Path) -> str:
    with remembered_digests(memory) as digests:
        digest = file_digest()(path)
        digests.save()
    return digest


def test_a_file_nobody_touched_is_not_read_again(tmp_path: Path, old_file: Path) -> None:
    memory = tmp_path / "digests.json"
    assert remembered(memory, old_file) == sha256_bytes(b"content")
    content = json.loads(memory.read_bytes())
    content[str(old_file)] = content[str(old_file)].replace(sha256_bytes(b"content"), sha256_bytes(b"only the memory says so"))
    memory.write_text(json.dumps(content))
    assert remembered(memory, old_file) == sha256_bytes(b"only the memory says so")


def test_a_file_of_the_same_size_whose_time_was_set_back_is_read_again(tmp_path: Path, old_file: Path) -> None:
    memory = tmp_path / "digests.json"
    remembered(memory, old_file)
    before = old_file.stat()
    old_file.write_bytes(b"CONTENT")
    os.utime(old_file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert remembered(memory, old_file) == sha256_bytes(b"CONTENT")


def test_another_file_of_the_same_size_and_time_in_its_place_is_read(tmp_path: Path, old_file: Path) -> None:
    memory = tmp_path / "digests.json"
    remembered(memory, old_file)
    before = old_file.stat()
    (tmp_path / "other").write_bytes(b"CONTENT")
    os.utime(tmp_path / "other", ns=(before.st_atime_ns, before.st_mtime_ns))
    (tmp_path / "other").replace(old_file)
    assert remembered(memory, old_file) == sha256_bytes(b"CONTENT")


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path) -> None:
    path, memory = tmp_path / "file", tmp_path / "digests.json"
    path.write_bytes(b"content")
    remembered(memory, path)
    assert not memory.exists()


@pytest.mark.parametrize("damaged", [b"", b"[]", b'{"/file": 1}', b'{"/file": []}', b"\xff", b"[" * 10**6])
def test_a_damaged_memory_knows_nothing(tmp_path: Path, old_file: Path, damaged: bytes) -> None:
    memory = tmp_path / "digests.json"
    memory.write_bytes(damaged)
    assert remembered(memory, old_file) == sha256_bytes(b"content")


def test_files_that_were_not_asked_for_are_forgotten(tmp_path: Path, old_file: Path) -> None:
    memory = tmp_path / "digests.json"
    remembered(memory, old_file)
    other = tmp_path / "other"
    other.write_bytes(b"other")
    remembered(memory, other)
    assert list(json.loads(memory.read_bytes())) == [str(other)]


def test_a_place_whose_name_is_no_text_is_remembered_too(tmp_path: Path, old_file: Path) -> None:
    memory, strange = tmp_path / "digests.json", tmp_path / os.fsdecode(b"\xff")
    old_file.rename(strange)
    assert remembered(memory, strange) == sha256_bytes(b"content")
    assert list(json.loads(memory.read_bytes())) == [str(strange)]


def test_without_a_memory_every_byte_is_read(old_file: Path) -> None:
    assert file_digest() is sha256_file
    with pytest.raises(FileNotFoundError):
        DigestMemory(old_file.parent / "none").sha256(old_file.parent / "absent")
