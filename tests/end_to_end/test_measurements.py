"""Two rasters of measurements, 4 bands of uint16 and 1 of float32, all the way: pairs, training, scores, translation."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from flows.services.mlflow_dataset import training_dataset
from flows.stages.build import BuildRequest, SplitRequest, build
from p2p_core.archive.exports import export_cog
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.translate import translate_archive
from p2p_core.config import replace
from p2p_core.errors import BundleError
from p2p_core.evaluation.evaluate import evaluate
from p2p_core.inference.bundle import load_bundle
from p2p_core.pairstore.reader import PairStore
from p2p_core.recipes import maps
from p2p_core.training.config import AugmentConfig
from p2p_core.training.loop import train
from p2p_core.training.tracker import JsonLinesTracker

LANDSAT, NDVI = "bands:4:uint16:0:3000", "bands:1:float32:-1:1"
SIDE_PX = 192
PLACE = {"crs": "EPSG:32618", "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)}


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


@dataclass(frozen=True)
class Made:
    root: Path
    ndvi_HW: NDArray[np.float32]
    hidden_HW: NDArray[np.bool_]

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def bundle(self) -> Path:
        return self.root / "run" / "bundle"


def write(path: Path, bands_CHW: NDArray[np.generic], nodata: float) -> Path:
    size = {"count": len(bands_CHW), "height": SIDE_PX, "width": SIDE_PX}
    with rasterio.open(path, "w", driver="GTiff", dtype=bands_CHW.dtype, nodata=nodata, **size, **PLACE) as tiff:
        tiff.write(bands_CHW)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A scene of hills of reflectance, and its NDVI; a corner of it was not measured."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("measurements")
    rng = np.random.default_rng(0)
    hills_CHW = np.stack([gaussian_filter(rng.normal(size=(SIDE_PX, SIDE_PX)), 6) for _ in range(4)])
    landsat_CHW = (1500 + hills_CHW / np.abs(hills_CHW).max() * 1300).astype(np.uint16)
    hidden_HW = np.zeros((SIDE_PX, SIDE_PX), np.bool_)
    hidden_HW[:20, :30] = True
    landsat_CHW[:, hidden_HW] = 0
    red_HW, nir_HW = (landsat_CHW[band].astype(np.float32) for band in (2, 3))
    ndvi_HW = np.where(hidden_HW, np.float32(np.nan), (nir_HW - red_HW) / np.maximum(nir_HW + red_HW, 1))
    places = write(root / "landsat.tif", landsat_CHW, 0), write(root / "ndvi.tif", ndvi_HW[np.newaxis], np.nan)
    names = {"input_encoding": LANDSAT, "target_encoding": NDVI, "tile_px": 32, "source_px": 64, "max_nodata_fraction": 0.3}
    build(BuildRequest(builder="maps", sources=places, out=root / "store", parameters=names, split=SplitRequest()))
    config = maps().for_channels(4, 1)
    config = replace(
        config,
        generator=replace(config.generator, depth=3, base_width=8),
        discriminator=replace(config.discriminator, num_layers=1, base_width=8),
        augment=AugmentConfig(resize_px=36, crop_px=32),
        batch_size=4,
        budget_images=160,
        oversample_rare=2,
        validate_every_images=80,
        checkpoint_every_images=0,
    )
    with closing(JsonLinesTracker(root / "run", resume_from=0)) as tracker:
        train(config, root / "store", root / "run", tracker=tracker, progress=Silent(), device="cpu")
    return Made(root, ndvi_HW, hidden_HW)


def test_the_store_has_both_dtypes_and_statistics_in_their_units(made: Made) -> None:
    store = PairStore.open(made.store)
    assert sum(store.manifest.counts.values()) >= 34
    assert set(store.manifest.rejected) <= {"nodata"}
    input_HWC, target_HWC = store.split("train").read(0)
    assert (input_HWC.dtype, target_HWC.dtype, input_HWC.shape[-1], target_HWC.shape[-1]) == (np.uint16, np.float32, 4, 1)
    statistics = store.manifest.input_statistics, store.manifest.target_statistics
    assert statistics[0] is not None
    assert statistics[1] is not None
    assert all(1300 < mean < 1700 for mean in statistics[0].mean)
    assert -0.3 < statistics[1].mean[0] < 0.3
    schema = training_dataset(store).dataset.schema
    assert "uint16" in schema
    assert "float32" in schema


def test_scores_are_in_255ths_of_the_range_beside_the_affine_baseline(made: Made, tmp_path: Path) -> None:
    found = evaluate(made.bundle, made.store, split="test", sheet=tmp_path / "sheet.png")
    assert set(found.scores) == {"model", "affine"}, "the input is no answer"
    assert 0 < found.scores["affine"].l1 < 8, "NDVI is nearly affine here"
    assert 0 < found.scores["model"].l1 < 60
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert np.asarray(sheet).std() > 20
    sheets = sorted((made.root / "run" / "sheets").glob("*.png"))
    assert len(sheets) == 2, "one of each validation; the end is the second"


def test_a_bundle_is_for_stores_of_its_own_scale(made: Made, tmp_path: Path) -> None:
    names = {"input_encoding": "bands:4:uint16:0:4000", "target_encoding": NDVI, "tile_px": 32}
    places = made.root / "landsat.tif", made.root / "ndvi.tif"
    build(BuildRequest(builder="maps", sources=places, out=tmp_path / "other", parameters=names))
    with pytest.raises(BundleError, match=r"translates bands:4:uint16:0:3000 to .* the store pairs bands:4:uint16:0:4000 with"):
        evaluate(made.bundle, tmp_path / "other")


def test_the_scene_becomes_a_float_raster_in_its_place(made: Made, tmp_path: Path) -> None:
    job = ArchiveJob(
        source=made.root / "landsat.tif", output=tmp_path / "out", bundle=made.bundle, core_px=64, shard_px=64, chunk_px=32
    )
    assert translate_archive(job).complete
    with rasterio.open(export_cog(tmp_path / "out", tmp_path / "ndvi.tif")) as cog:
        assert (cog.count, cog.dtypes[0], cog.crs.to_string(), cog.shape) == (1, "float32", "EPSG:32618", (SIDE_PX, SIDE_PX))
        assert tuple(cog.transform)[:6] == tuple(PLACE["transform"])[:6]
        assert np.isnan(cog.nodata)
        painted_HW = cog.read(1)
    assert np.array_equal(np.isnan(painted_HW), made.hidden_HW)
    seen_HW = ~made.hidden_HW
    error = np.abs(painted_HW[seen_HW] - made.ndvi_HW[seen_HW]).mean()
    assert error < np.abs(made.ndvi_HW[seen_HW] - made.ndvi_HW[seen_HW].mean()).mean(), "it has learnt more than the mean"


def test_the_registry_knows_the_types_of_the_model(made: Made, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    from flows.services.registry import _save_pyfunc

    _save_pyfunc(tmp_path / "model", made.bundle, load_bundle(made.bundle).spec)
    signature = mlflow.models.get_model_info(str(tmp_path / "model")).signature
    assert "uint16" in str(signature.inputs)
    assert "float32" in str(signature.outputs)
