"""`p2p verify` of a store that was exported as pictures."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from p2p_core.errors import OutputError
from p2p_core.pairstore import PairStore
from p2p_core.pairstore.checksums import CHECKSUMS, verify_export
from p2p_core.pairstore.export import export_folders


@pytest.fixture
def exported(store: Path, tmp_path: Path) -> Path:
    export_folders(PairStore.open(store), tmp_path / "out")
    return tmp_path / "out"


def bad(exported: Path) -> list[str]:
    return [problem.path for problem in verify_export(exported)]


def test_an_export_is_what_was_written_and_sha256sum_says_so_too(exported: Path) -> None:
    assert verify_export(exported) == []
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    done = subprocess.run(["sha256sum", "-c", CHECKSUMS], cwd=exported, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == 32  # 31 pictures and what is exported


def test_a_flipped_bit_a_lost_and_an_added_file_are_found_and_named(exported: Path) -> None:
    rng = random.Random(0)
    for file in (*sorted(exported.rglob("*.png")), exported / ".p2p-export.json"):
        data = file.read_bytes()
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(flipped)
        assert bad(exported) == [file.relative_to(exported).as_posix()]
        file.unlink()
        assert bad(exported) == [file.relative_to(exported).as_posix()]
        file.write_bytes(data)
    (exported / "val" / "stranger.png").write_bytes(b"")
    assert bad(exported) == ["val/stranger.png"]


def test_any_flipped_bit_of_the_checksums_themselves_is_found(exported: Path) -> None:
    data = (exported / CHECKSUMS).read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        flipped = bytearray(data)
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        (exported / CHECKSUMS).write_bytes(flipped)
        assert bad(exported)


def test_an_export_that_did_not_end_is_not_complete_and_the_next_run_makes_it_so(
    store: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = min((exported / "train").glob("*.png"))
    missing.unlink()
    expected = (exported / CHECKSUMS).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="The disk is full"):
        export_folders(PairStore.open(store), exported)
    monkeypatch.undo()
    assert [(p.path, "run it again" in p.what) for p in verify_export(exported)] == [(CHECKSUMS, True)]
    assert export_folders(PairStore.open(store), exported).num_there == 30
    assert (exported / CHECKSUMS).read_bytes() == expected
    assert verify_export(exported) == []
