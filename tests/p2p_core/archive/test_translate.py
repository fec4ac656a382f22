"""Blocked translation is whole-image translation; what is done is not done again; what is broken is named."""

from __future__ import annotations

import errno
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
import zarr.storage._local
from numpy.typing import NDArray

from p2p_core.archive.job import ArchiveJob, pin_job
from p2p_core.archive.plan import Block
from p2p_core.archive.seams import check_seams
from p2p_core.archive.status import output_status
from p2p_core.archive.store import OutputStore
from p2p_core.archive.translate import translate_archive
from p2p_core.archive.verify import verify_output
from p2p_core.errors import BundleError, LedgerError, OutputError, PlanError, RasterError, SizeMismatchError
from p2p_core.files import sha256_file
from p2p_core.geometry import Window, align_up
from p2p_core.inference.bundle import ModelBundle
from p2p_core.inference.translator import Translator
from p2p_core.rasters.registry import open_raster

JobFactory = Callable[..., ArchiveJob]


class Shuffled:
    """An executor that takes the blocks in another order."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        shuffled = list(items)
        random.Random(self._seed).shuffle(shuffled)
        return map(function, shuffled)


class StopsAfter:
    """An executor whose process 'dies' after some blocks."""

    def __init__(self, num_blocks: int) -> None:
        self._num_blocks = num_blocks

    def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
        for done, item in enumerate(items):
            if done == self._num_blocks:
                raise KeyboardInterrupt
            yield function(item)


def read_image(output: Path) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = np.asarray(zarr.open_array(output / "image.zarr", mode="r")[:])
    return pixels


def shard_digests(output: Path) -> dict[str, str]:
    root = output / "image.zarr"
    return {str(path.relative_to(root)): sha256_file(path) for path in sorted((root / "c").rglob("*")) if path.is_file()}


def translate_whole(bundle: ModelBundle, scene_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One forward pass over the scene mirrored outward by the halo and up to the lattice, with numpy's own mirror."""
    lattice_px = bundle.spec.lattice_px
    halo_px = align_up(bundle.spec.halo_px, lattice_px)
    height_px, width_px = scene_HWC.shape[:2]
    below_px, right_px = (align_up(size, lattice_px) - size + halo_px for size in (height_px, width_px))
    padded = np.pad(scene_HWC, ((halo_px, below_px), (halo_px, right_px), (0, 0)), mode="reflect")
    whole = Translator(bundle, norm="frozen", threads=1).translate(padded[np.newaxis])[0]
    return whole[halo_px : halo_px + height_px, halo_px : halo_px + width_px]


def max_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_blocked_translation_equals_whole_image_translation(
    make_job: JobFactory, bundle: ModelBundle, scene_HWC: NDArray[np.uint8]
) -> None:
    job = make_job()
    summary = translate_archive(job)
    assert summary.complete
    assert summary.num_blocks == 4 * 5
    assert summary.num_forwards == 20
    blocked, whole = read_image(job.output), translate_whole(bundle, scene_HWC)
    assert whole.std() > 20, "a flat picture would hide every mistake"
    assert max_difference(blocked, whole) <= 1
    assert (blocked != whole).mean() < 1e-3


def test_half_the_halo_is_not_enough(
    make_job: JobFactory, bundle: ModelBundle, scene_HWC: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exactness test above can fail: the model needs the halo that it states."""
    job = make_job()
    pinned = pin_job(job)
    half = pinned.model_copy(update={"halo_px": bundle.spec.halo_px // 2})
    monkeypatch.setattr("p2p_core.archive.translate.pin_job", lambda _: half)
    translate_archive(job)
    assert max_difference(read_image(job.output), translate_whole(bundle, scene_HWC)) > 1


def test_output_is_independent_of_shard_size_and_order(make_job: JobFactory) -> None:
    small, large, shuffled = make_job("small"), make_job("large", shard_px=128, chunk_px=128), make_job("shuffled")
    for job, executor in ((small, None), (large, None), (shuffled, Shuffled(3))):
        assert translate_archive(job, executor).complete
    assert (read_image(small.output) == read_image(large.output)).all()
    assert shard_digests(small.output) == shard_digests(shuffled.output)
    assert len(shard_digests(large.output)) == 2 * 3


def test_other_window_shapes_agree_within_one_grey_level(make_job: JobFactory) -> None:
    small, large = make_job("small"), make_job("large", core_px=128, shard_px=128)
    translate_archive(small)
    translate_archive(large)
    assert max_difference(read_image(small.output), read_image(large.output)) <= 1


def test_threads_of_the_process_are_given_back(make_job: JobFactory) -> None:
    torch.set_num_threads(2)
    try:
        translate_archive(make_job(core_px=128, shard_px=128))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(("height_px", "width_px"), [(1, 1), (5, 3), (1, 90), (64, 64), (65, 33)])
def test_scenes_of_any_size_are_translated(
    make_job: JobFactory, bundle: ModelBundle, tmp_path: Path, height_px: int, width_px: int
) -> None:
    from PIL import Image

    pixels_HWC = np.random.default_rng(1).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)
    Image.fromarray(pixels_HWC).save(tmp_path / "tiny.png")
    job = make_job(source=tmp_path / "tiny.png")
    assert translate_archive(job).complete
    assert max_difference(read_image(job.output), translate_whole(bundle, pixels_HWC)) <= 1


def test_a_rerun_after_success_runs_no_forward(make_job: JobFactory) -> None:
    job = make_job()
    first = translate_archive(job)
    again = translate_archive(job)
    assert again.num_forwards == 0
    assert again.num_reused == again.num_done == first.num_blocks
    assert again.output_digest == first.output_digest


def test_an_interrupted_run_does_only_what_is_missing(make_job: JobFactory) -> None:
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


def test_a_shard_without_its_record_is_made_again(make_job: JobFactory) -> None:
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


def test_verify_names_the_flipped_byte_and_rehash_mends_it(make_job: JobFactory) -> None:
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


def test_a_changed_model_makes_every_block_stale(make_job: JobFactory, other_bundle_path: Path) -> None:
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


def test_an_output_of_another_source_is_not_overwritten(make_job: JobFactory, tmp_path: Path) -> None:
    job = make_job()
    translate_archive(job)
    before = shard_digests(job.output)
    from PIL import Image

    Image.new("RGB", (40, 40)).save(tmp_path / "another.png")
    with pytest.raises(LedgerError, match="belongs to another job"):
        translate_archive(job.model_copy(update={"source": tmp_path / "another.png"}))
    assert shard_digests(job.output) == before
    assert verify_output(job.output) == []


def test_a_directory_with_something_else_is_refused(make_job: JobFactory) -> None:
    job = make_job()
    job.output.mkdir()
    (job.output / "thesis.txt").write_text("five years")
    with pytest.raises(OutputError, match=r"thesis\.txt"):
        translate_archive(job)
    assert [path.name for path in job.output.iterdir()] == ["thesis.txt"]


def test_an_output_below_a_file_is_refused(make_job: JobFactory, scene_path: Path) -> None:
    with pytest.raises(OutputError, match="in the way"):
        translate_archive(make_job(output="scene.tif/out"))
    assert scene_path.is_file()


def test_a_full_disk_stops_the_run_and_a_rerun_completes(make_job: JobFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job()
    put, calls = zarr.storage._local._put, []

    def full_after_six(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return put(*args, **kwargs)

    monkeypatch.setattr(zarr.storage._local, "_put", full_after_six)
    with pytest.raises(OutputError, match="disk is full"):
        translate_archive(job)
    monkeypatch.undo()
    num_done = output_status(job.output).done
    assert 0 < num_done < 6
    assert translate_archive(job).num_forwards == 20 - num_done
    assert verify_output(job.output) == []


def test_a_poison_block_is_recorded_and_the_rest_goes_on(make_job: JobFactory, tmp_path: Path) -> None:
    from p2p_core.rasters.mercator import TileAddress
    from p2p_core.rasters.xyz import write_xyz_tile

    rng = np.random.default_rng(5)
    for x in (1, 2):
        for y in (1, 2):
            write_xyz_tile(tmp_path / "tree", TileAddress(2, x, y), rng.integers(0, 256, (256, 256, 3), dtype=np.uint8))
    (tmp_path / "tree" / "2" / "2" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n and then nothing")
    job = make_job(source=tmp_path / "tree", shard_px=128)
    summary = translate_archive(job)
    assert not summary.complete
    # blocks of 128 px whose window (64 px of halo) reaches into the last tile: all but the first row and column
    failed = {(failure.row, failure.column) for failure in summary.failures}
    assert failed == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert all("2.png" in failure.reason for failure in summary.failures)
    assert summary.num_done == 7
    status = output_status(job.output)
    assert (status.done, status.failed, status.remaining) == (7, 9, 0)
    assert len(verify_output(job.output)) == 9
    assert "2.png" in verify_output(job.output)[0].what


def test_nodata_stays_where_it_was_and_appears_nowhere_else(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path]
) -> None:
    pixels_HWC = scene_HWC.clip(1, 255)
    pixels_HWC[40:150, 100:290] = 0
    job = make_job(source=write_scene(tmp_path / "masked.tif", pixels_HWC, nodata=0))
    translate_archive(job)
    output_hidden = (read_image(job.output) == 0).all(axis=-1)
    assert (output_hidden == (pixels_HWC == 0).all(axis=-1)).all()
    with open_raster(job.output) as raster:
        assert raster.nodata == 0
    assert check_seams(job.output).max_difference <= 1


def test_an_output_is_a_raster_with_the_sources_place(make_job: JobFactory, scene_path: Path) -> None:
    job = make_job()
    translate_archive(job)
    with open_raster(job.output) as output, open_raster(scene_path) as source:
        assert (output.crs, output.transform) == (source.crs, source.transform) == ("EPSG:4326", source.transform)
        assert (output.height_px, output.width_px, output.bands) == (230, 300, 3)


def test_all_black_blocks_are_committed_like_any_other(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path]
) -> None:
    """Zarr stores no shard that is all fill value unless told to; then nobody could tell it from one never written."""
    pixels_HWC = scene_HWC.copy()
    pixels_HWC[:128, :128] = 0
    job = make_job(source=write_scene(tmp_path / "black.tif", pixels_HWC, nodata=0))
    translate_archive(job)
    assert (read_image(job.output)[:64, :64] == 0).all()
    assert (job.output / "image.zarr" / "c" / "0" / "0" / "0").is_file()
    assert verify_output(job.output) == []


def test_a_source_that_does_not_fit_the_model_is_refused(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path]
) -> None:
    gray = write_scene(tmp_path / "gray.tif", scene_HWC[..., :1])
    with pytest.raises(SizeMismatchError, match=r"gray\.tif has 1 bands; the model takes 3 \(red, green, blue\)"):
        translate_archive(make_job(source=gray))
    with pytest.raises(RasterError, match="does not exist"):
        translate_archive(make_job(source=tmp_path / "nowhere.tif"))
    with pytest.raises(BundleError):
        translate_archive(make_job(bundle=tmp_path))
    with pytest.raises(PlanError, match="core_px=48 is not a multiple of lattice_px=32"):
        translate_archive(make_job(core_px=48))
    assert not (tmp_path / "out").exists()


def test_a_write_that_is_not_a_whole_block_is_refused(make_job: JobFactory) -> None:
    job = make_job()
    pinned, store = pin_job(job), OutputStore(job.output)
    store.prepare(pinned)
    with pytest.raises(PlanError, match="not the whole of block 0_0"):
        store.write_block(pinned.plan.block(0, 0), np.zeros((64, 32, 3), np.uint8))


def test_a_bundle_that_changes_during_the_run_is_noticed(
    make_job: JobFactory, bundle_path: Path, other_bundle_path: Path, tmp_path: Path
) -> None:
    import shutil

    live = tmp_path / "live"
    shutil.copytree(bundle_path, live)

    class Replaces:
        def map(self, function: Callable[[Any], Any], items: Iterable[Any], /) -> Iterator[Any]:
            shutil.rmtree(live)
            shutil.copytree(other_bundle_path, live)
            return map(function, items)

    with pytest.raises(BundleError, match="has changed since the run began"):
        translate_archive(make_job(bundle=live), Replaces())


def test_status_and_verify_of_something_else_say_so(tmp_path: Path) -> None:
    for function in (output_status, verify_output, check_seams):
        with pytest.raises(LedgerError, match=r"no job\.json"):
            function(tmp_path)  # type: ignore[operator]
