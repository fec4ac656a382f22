"""What is done is not done again; what is damaged, missing or stale is, and no more."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.plan import Block
from p2p_core.archive.status import output_status
from p2p_core.archive.store import OutputStore
from p2p_core.archive.translate import translate_archive
from p2p_core.archive.verify import verify_output
from p2p_core.errors import OutputError
from p2p_core.geometry import Window

JobFactory = Callable[..., ArchiveJob]
ReadImage = Callable[[Path], NDArray[np.uint8]]
Digests = Callable[[Path], dict[str, str]]


class StopsAfter:
    """An executor whose process 'dies' after some blocks."""

    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        for done, item in enumerate(items):
            if done == self._num_blocks:
                raise KeyboardInterrupt
            yield function(item)


def test_a_rerun_after_success_runs_no_forward(make_job: JobFactory) -> None:
    job = make_job()
    first = translate_archive(job)
    again = translate_archive(job)
    assert again.num_forwards == 0
    assert again.num_reused == again.num_done == first.num_blocks
    assert again.output_digest == first.output_digest


def test_an_interrupted_run_does_only_what_is_missing(make_job: JobFactory, shard_digests: Digests) -> None:
    undisturbed, job = make_job("undisturbed"), make_job()
    translate_archive(undisturbed)
    with pytest.raises(KeyboardInterrupt):
        translate_archive(job, StopsAfter(9))
    status = output_status(job.output)
    assert (status.planned, status.done, status.remaining, status.failed) == (20, 9, 11, 0)
    assert status.eta_s is not None
    assert status.eta_s > 0
    assert verify_output(job.output)[0].what.startswith("was never made: block 1_4")
    (job.output / "image.zarr" / "c" / "0" / ".killed.partial").write_bytes(b"half a shard")
    summary = translate_archive(job)
    assert summary.num_forwards == 11
    assert shard_digests(job.output) == shard_digests(undisturbed.output)  # the half-written file is gone, too
    assert output_status(job.output).eta_s == 0


def test_a_shard_without_its_record_is_made_again(make_job: JobFactory, shard_digests: Digests) -> None:
    """What a kill between shard and record leaves: even a damaged shard there does no harm."""
    job = make_job()
    translate_archive(job)
    before = shard_digests(job.output)
    (job.output / "ledger" / "blocks" / "2_3.json").unlink()
    OutputStore(job.output).shard_path(Block(2, 3, Window(0, 0, 0, 0))).write_bytes(b"garbage")
    assert translate_archive(job).num_forwards == 1
    assert shard_digests(job.output) == before


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"row": 2}'])
def test_a_damaged_record_commits_nothing(make_job: JobFactory, damage: bytes) -> None:
    job = make_job()
    translate_archive(job)
    (job.output / "ledger" / "blocks" / "0_1.json").write_bytes(damage)
    assert translate_archive(job).num_forwards == 1
    assert verify_output(job.output) == []


def test_verify_names_the_flipped_byte_and_rehash_mends_it(make_job: JobFactory, shard_digests: Digests) -> None:
    job = make_job()
    translate_archive(job)
    assert verify_output(job.output) == []
    before = shard_digests(job.output)
    shard = job.output / "image.zarr" / "c" / "1" / "4" / "0"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    problems = verify_output(job.output)
    assert [problem.path for problem in problems] == ["image.zarr/c/1/4/0"]
    assert "is not what was written" in problems[0].what
    summary = translate_archive(job, rehash=True)
    assert (summary.num_forwards, summary.num_redone) == (1, 1)
    assert shard_digests(job.output) == before


def test_a_missing_or_shortened_shard_is_found_without_rehashing(make_job: JobFactory) -> None:
    job = make_job()
    translate_archive(job)
    (job.output / "image.zarr" / "c" / "0" / "0" / "0").unlink()
    shard = job.output / "image.zarr" / "c" / "0" / "1" / "0"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert output_status(job.output).stale == 2
    assert translate_archive(job).num_forwards == 2


def test_a_changed_source_makes_every_block_stale(make_job: JobFactory, scene_path: Path) -> None:
    job = make_job()
    translate_archive(job)
    with scene_path.open("ab") as file:
        file.write(b"\0")  # pixels stay, bytes do not
    summary = translate_archive(job)
    assert summary.changed_pins == ["source_digest"]
    assert summary.num_forwards == 20


def test_a_changed_model_makes_every_block_stale(make_job: JobFactory, other_bundle_path: Path, read_image: ReadImage) -> None:
    job, fresh = make_job(model_name="m", model_version="1"), make_job("fresh", bundle=other_bundle_path)
    translate_archive(job)
    other = job.model_copy(update={"bundle": other_bundle_path, "model_version": "2"})
    summary = translate_archive(other)
    assert summary.changed_pins == ["bundle_digest", "model_version"]
    assert summary.num_forwards == 20
    translate_archive(fresh)
    assert (read_image(job.output) == read_image(fresh.output)).all()


def test_a_record_of_another_job_is_stale(make_job: JobFactory) -> None:
    """A worker that outlives its run may commit a block after the output was taken over."""
    job = make_job()
    translate_archive(job)
    path = job.output / "ledger" / "blocks" / "0_0.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "job_digest": "f" * 64}))
    assert "made by another job" in verify_output(job.output)[0].what
    assert translate_archive(job).num_forwards == 1


def test_all_black_blocks_are_committed_like_any_other(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path], read_image: ReadImage
) -> None:
    """Zarr stores no shard that is all fill value unless told to; then nobody could tell it from one never written."""
    pixels_HWC = scene_HWC.copy()
    pixels_HWC[:128, :128] = 0
    job = make_job(source=write_scene(tmp_path / "black.tif", pixels_HWC, nodata=0))
    translate_archive(job)
    assert (read_image(job.output)[:64, :64] == 0).all()
    assert (job.output / "image.zarr" / "c" / "0" / "0" / "0").is_file()
    assert verify_output(job.output) == []


HOLDS_OUTPUT = """
import sys, time
from pathlib import Path
from p2p_core.archive.store import OutputStore
with OutputStore(Path(sys.argv[1])).sole_use():
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_runs_never_write_into_one_output_and_a_killed_one_lets_go(make_job: JobFactory) -> None:
    job = make_job()
    process = subprocess.Popen([sys.executable, "-c", HOLDS_OUTPUT, str(job.output)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(OutputError, match=r"Another translation into .* is under way\. Watch it with `p2p status`"):
            translate_archive(job)
    finally:
        process.kill()
        process.communicate()
    assert translate_archive(job).complete
