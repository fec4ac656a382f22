"""What cannot be translated or written is named, with a remedy, and harms nothing else."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
import zarr.storage._local
from numpy.typing import NDArray

from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.pin import pin_job
from p2p_core.archive.seams import check_seams
from p2p_core.archive.status import output_status
from p2p_core.archive.store import OutputStore
from p2p_core.archive.translate import translate_archive
from p2p_core.archive.verify import verify_output
from p2p_core.errors import BundleError, LedgerError, OutputError, PlanError, RasterError, SizeMismatchError, UsageError
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster

JobFactory = Callable[..., ArchiveJob]
Digests = Callable[[Path], dict[str, str]]


def test_an_output_of_another_source_is_not_overwritten(make_job: JobFactory, tmp_path: Path, shard_digests: Digests) -> None:
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


def test_an_output_below_a_file_is_refused(make_job: JobFactory, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("kept")
    with pytest.raises(OutputError, match="in the way"):
        translate_archive(make_job(output="notes.txt/out"))
    assert (tmp_path / "notes.txt").read_text() == "kept"


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


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_an_image_that_cannot_be_decoded_is_refused_before_any_block_is_tried(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], suffix: str
) -> None:
    from PIL import Image

    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(scene_HWC).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    job = make_job(source=path)
    with pytest.raises(RasterError, match=rf"cut\.{suffix} ends too early"):
        translate_archive(job)
    assert not job.output.exists()


def test_a_geotiff_that_is_cut_short_loses_only_the_blocks_that_are_not_there(make_job: JobFactory, scene_path: Path) -> None:
    data = scene_path.read_bytes()
    scene_path.write_bytes(data[: int(len(data) * 0.7)])
    summary = translate_archive(make_job(source=scene_path))
    assert 0 < summary.num_done < summary.num_blocks
    assert all("scene.tif ends too early" in failure.reason for failure in summary.failures)


def test_a_gray_source_of_an_rgb_model_is_translated_as_its_repetition(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path]
) -> None:
    gray_HWC = scene_HWC[:64, :64, :1]
    digests = [
        translate_archive(make_job(name, source=write_scene(tmp_path / f"{name}.tif", pixels))).output_digest
        for name, pixels in (("gray", gray_HWC), ("repeated", np.repeat(gray_HWC, 3, axis=-1)))
    ]
    with open_raster(tmp_path / "gray") as one, open_raster(tmp_path / "repeated") as other:
        assert (one.read(full_window(one)) == other.read(full_window(other))).all()
        assert one.bands == 3
    assert all(digests)


def test_a_source_that_does_not_fit_the_model_is_refused(
    make_job: JobFactory, tmp_path: Path, scene_HWC: NDArray[np.uint8], write_scene: Callable[..., Path]
) -> None:
    two = write_scene(tmp_path / "two.tif", scene_HWC[..., :2])
    with pytest.raises(SizeMismatchError, match=r"two\.tif has 2 bands; the model takes 3 \(red, green, blue\)"):
        translate_archive(make_job(source=two))
    with pytest.raises(RasterError, match="does not exist"):
        translate_archive(make_job(source=tmp_path / "nowhere.tif"))
    with pytest.raises(BundleError):
        translate_archive(make_job(bundle=tmp_path))
    with pytest.raises(PlanError, match="core_px=48 is not a multiple of lattice_px=32"):
        translate_archive(make_job(core_px=48))
    assert not (tmp_path / "out").exists()


def test_an_output_in_its_own_source_is_refused(make_job: JobFactory, tmp_path: Path) -> None:
    done = make_job()
    translate_archive(done)
    for output in ("out", "out/again"):
        with pytest.raises(UsageError, match="lies in the source"):
            translate_archive(make_job(output, source=tmp_path / "out"))
    assert verify_output(done.output) == []
    assert translate_archive(make_job("again", source=tmp_path / "out")).complete, "an output is a source like any other"


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


@pytest.mark.parametrize("content", [b"", b"null", b"[1]", b'{"attributes": 3}', b"\xff"])
def test_a_damaged_json_file_is_named_by_verify_and_stops_nothing_else(make_job: JobFactory, content: bytes) -> None:
    job = make_job()
    translate_archive(job)
    for name in ("image.zarr/zarr.json", "summary.json"):
        whole = (job.output / name).read_bytes()
        (job.output / name).write_bytes(content)
        assert [problem.path for problem in verify_output(job.output)] == [name]
        (job.output / name).write_bytes(whole)
    (job.output / "image.zarr" / "zarr.json").write_bytes(content)
    with pytest.raises(RasterError, match=r"image\.zarr cannot be read"):
        open_raster(job.output)
    assert translate_archive(job).complete
    assert verify_output(job.output) == []


def test_a_ledger_that_tells_of_other_pixels_than_the_summary_is_found(make_job: JobFactory) -> None:
    job = make_job()
    translate_archive(job)
    record = job.output / "ledger" / "blocks" / "0_0.json"
    values = json.loads(record.read_bytes())
    record.write_text(json.dumps({**values, "pixels_digest": "0" * 64}))
    assert [(p.path, p.what) for p in verify_output(job.output)] == [
        ("summary.json", "names other pixels than the ledger does")
    ]
