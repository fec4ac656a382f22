from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2p_core.errors import OutputError
from p2p_core.pairstore import PairStore, verify_store
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.versions import build_lock, find_version

HOLD = """
import sys, time
from pathlib import Path
from p2p_core.pairstore.versions import build_lock
with build_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_builds_at_a_time_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    store = tmp_path / "store"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(store)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(OutputError, match=r"Another process is building .*store"), build_lock(store):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with build_lock(store):
        pass


def test_a_directory_with_other_things_in_it_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(OutputError, match=r"other than a pair store: holiday\.jpg"), build_lock(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize("place", ["file/store", "file"])
def test_a_file_in_the_way_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="is in the way"), build_lock(tmp_path / place):
        pass


def test_a_place_where_nobody_can_write_is_named() -> None:
    with pytest.raises(OutputError, match=r"/proc/store cannot be written"), build_lock(Path("/proc/store")):
        pass


def test_publishing_over_a_damaged_version_of_the_same_content_heals_it(
    store: Path, version: Path, make_store: Callable[..., Any], entries: list[Any], layout: StoreLayout
) -> None:
    (version / "pairs.parquet").write_bytes(b"damage")
    assert verify_store(store)
    make_store(store, entries, layout)
    assert verify_store(store) == []
    assert [path.name for path in (store / "versions").iterdir()] == [version.name]
    assert not (store / "building").exists()


def test_a_version_is_found_by_its_build_key_unless_its_manifest_is_damaged(store: Path, version: Path) -> None:
    key = PairStore.open(store).manifest.build_key
    found = find_version(store, key)
    assert found is not None
    assert found[0] == version
    assert find_version(store, "other") is None
    (version / "manifest.json").write_bytes(b"{}")
    assert find_version(store, key) is None
