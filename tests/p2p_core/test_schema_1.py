"""A pair store and an archive output of schema 1, as the first release wrote them, stay readable for ever.

The bundle of schema 1 has its test in `inference/test_bundle.py`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from p2p_core.archive.exports import export_cog
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.ledger import Ledger
from p2p_core.archive.status import output_status
from p2p_core.archive.store import OutputStore
from p2p_core.archive.summary import ArchiveSummary, read_finished
from p2p_core.archive.translate import translate_archive
from p2p_core.archive.verify import verify_output
from p2p_core.files import sha256_bytes, sha256_file
from p2p_core.pairstore.layout import SPLITS
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.verify import verify_store
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster

DATA = Path(__file__).parents[1] / "data"
STORE, OUTPUT = DATA / "pair_store_schema_1", DATA / "output_schema_1"
PIXELS_DIGEST = "0f3112df5a8cb8c56a0aed69f2738f6d48cdf4f7d772090049ef0d67d9cf9cea"


def test_the_committed_pair_store_verifies_and_gives_its_pairs_and_its_rejection() -> None:
    assert list(verify_store(STORE)) == []
    store = PairStore.open(STORE)
    assert store.manifest.counts == {"train": 4, "val": 1, "test": 1}
    assert [(record.item, record.reason) for record in store.rejected] == [("train/odd", "size")]
    pixels = [array for split in SPLITS for array in store.split(split).read_all()]
    assert sha256_bytes(b"".join(np.ascontiguousarray(array).tobytes() for array in pixels)) == PIXELS_DIGEST


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OUTPUT, tmp_path / "output"))


def test_the_committed_output_verifies_and_is_exported_whole(output: Path, tmp_path: Path) -> None:
    assert verify_output(output) == []
    found = output_status(output)
    assert (found.planned, found.done, found.remaining) == (4, 4, 0)
    assert read_finished(OutputStore(output)).output_digest.startswith("ff5a3013")
    with open_raster(output) as raster, rasterio.open(export_cog(output, tmp_path / "scene.tif")) as cog:
        assert (cog.height, cog.width, cog.crs.to_epsg()) == (40, 56, 4326)
        assert (np.moveaxis(cog.read(), 0, -1) == raster.read(full_window(raster))).all()


def resume(output: Path) -> ArchiveSummary:
    source, bundle = DATA / "output_schema_1_source.tif", DATA / "bundle_schema_1"
    values = {"source": source, "bundle": bundle, "output": output, "core_px": 32, "shard_px": 32, "chunk_px": 16}
    return translate_archive(ArchiveJob.parse({**values, "model_name": "schema-1-example", "model_version": "1"}, where="test"))


def pinned_to_this_torch(output: Path) -> bool:
    return torch.__version__.startswith(OutputStore(output).read_job().engine_version)


def test_a_resumed_copy_of_the_committed_output_has_nothing_to_do(output: Path) -> None:
    """Under another version of torch the ledger calls its blocks stale: that pin is all that may have changed."""
    same = pinned_to_this_torch(output)
    summary = resume(output)
    assert summary.changed_pins == ([] if same else ["engine_version"])
    assert summary.num_forwards == (0 if same else 4)
    assert summary.complete


def test_only_a_damaged_block_of_the_committed_output_is_done_again(output: Path) -> None:
    if not pinned_to_this_torch(output):
        pytest.skip("every block is stale under this version of torch")
    store = OutputStore(output)
    job = store.read_job()
    shard = store.shard_path(job.plan.block(0, 1))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert [problem.path for problem in verify_output(output)] == ["image.zarr/c/0/1/0"]
    summary = resume(output)
    assert (summary.num_forwards, summary.num_reused, summary.num_redone) == (1, 3, 1)
    assert verify_output(output) == []
    assert len(Ledger(store, job).survey(job.plan).done) == 4
    untouched = Path("image.zarr/c/0/0/0")
    assert sha256_file(output / untouched) == sha256_file(OUTPUT / untouched)
