"""Archives of measurements: bands and dtype of the target's encoding, nodata of any type carried over, no pixel poisoned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from p2p_core.archive.exports import export_cog, export_xyz
from p2p_core.archive.job import ArchiveJob
from p2p_core.archive.pin import pin_job
from p2p_core.archive.seams import check_seams
from p2p_core.archive.translate import translate_archive
from p2p_core.archive.verify import verify_output
from p2p_core.encodings import encoding
from p2p_core.errors import BundleError, RasterError, SizeMismatchError
from p2p_core.inference.bundle import BundleSpec, load_bundle, save_bundle
from p2p_core.inference.translator import Translator
from p2p_core.model.generator import UNet, UNetConfig
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster

HEIGHT_PX, WIDTH_PX = 90, 130
LANDSAT, NDVI = "bands:4:uint16:0:3000", "bands:1:float32:-1:1"


@pytest.fixture
def model(tmp_path: Path) -> Callable[[str, str], Path]:
    """(input encoding, target encoding) -> a bundle of random weights."""

    def make(inputs: str, targets: str) -> Path:
        torch.manual_seed(0)
        source, target = encoding(inputs), encoding(targets)
        config = UNetConfig(depth=3, base_width=4, input_bands=source.channels, output_bands=target.channels)
        net = UNet(config)
        net.train()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter *= 4
            for _ in range(4):
                net(torch.rand(2, source.channels, 64, 64) * 2 - 1)
        spec = BundleSpec(
            name="depth",
            architecture=config,
            input_encoding=inputs,
            target_encoding=targets,
            tile_px=32,
            lattice_px=config.lattice_px,
            halo_px=config.halo_px,
            recipe="test",
            images_seen=1,
            dataset_digest="0" * 64,
            metrics={},
        )
        pairs = [np.ones((2, 32, 32, own.bands), own.dtype) for own in (source, target)]
        save_bundle(tmp_path / "bundle", spec, net, pairs[0], pairs[1])
        return tmp_path / "bundle"

    return make


def measured(dtype: str, bands: int = 4) -> NDArray[Any]:
    return np.random.default_rng(0).uniform(1, 2999, (HEIGHT_PX, WIDTH_PX, bands)).astype(dtype)


@pytest.fixture
def translate(tmp_path: Path) -> Callable[..., Path]:
    def run(
        bundle: Path, pixels_HWC: NDArray[Any], nodata: float | None = None, *, output: str = "out", shard_px: int = 64
    ) -> Path:
        size = {"height": pixels_HWC.shape[0], "width": pixels_HWC.shape[1], "count": pixels_HWC.shape[2]}
        place = {"crs": "EPSG:26914", "transform": rasterio.Affine(5, 0, 5e5, 0, -5, 5e6), "nodata": nodata}
        with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", dtype=pixels_HWC.dtype, **size, **place) as tiff:
            tiff.write(np.moveaxis(pixels_HWC, -1, 0))
        sizes = {"core_px": 32, "shard_px": shard_px, "chunk_px": 32}
        job = ArchiveJob(source=tmp_path / "scene.tif", output=tmp_path / output, bundle=bundle, **sizes)
        assert translate_archive(job).complete
        return tmp_path / output

    return run


def read(output: Path) -> tuple[NDArray[Any], float | None]:
    with open_raster(output) as raster:
        return raster.read(full_window(raster)), raster.nodata


@pytest.mark.parametrize(
    ("inputs", "targets"),
    [(LANDSAT, NDVI), (LANDSAT, "rgb"), (LANDSAT, "bands:6:uint16:100:900"), ("bands:4:float32:0:3000", "bands:2:uint8")],
)
def test_an_output_has_the_bands_and_dtype_of_the_target_and_is_one_pass_of_the_model(
    model, translate, tmp_path: Path, inputs: str, targets: str
) -> None:
    bundle = model(inputs, targets)
    scene_HWC = measured(str(encoding(inputs).dtype))
    output = translate(bundle, scene_HWC)
    pixels_HWC, _ = read(output)
    own = encoding(targets)
    assert (pixels_HWC.dtype, pixels_HWC.shape) == (own.dtype, (HEIGHT_PX, WIDTH_PX, own.bands))
    assert np.ptp(own.to_grey_levels(pixels_HWC)) > 20, "it shows something"
    whole = np.pad(scene_HWC, ((0, 96 - HEIGHT_PX), (0, 136 - WIDTH_PX), (0, 0)), mode="reflect")
    at_once_HWC = Translator(load_bundle(bundle)).translate(whole[np.newaxis])[0, 32:64, 32:64]
    levels = [own.to_grey_levels(part).astype(float) for part in (pixels_HWC[32:64, 32:64], at_once_HWC)]
    assert np.abs(levels[0] - levels[1]).max() <= 1
    assert verify_output(output) == []
    found = check_seams(output)
    assert found.max_difference <= 1
    assert found.num_windows > 0
    again, _ = read(translate(bundle, scene_HWC, output="larger", shard_px=32))
    assert again.tobytes() == pixels_HWC.tobytes(), "the size of blocks changes no bit"
    with rasterio.open(export_cog(output, tmp_path / "out.tif")) as cog:
        assert (set(cog.dtypes), cog.count, cog.crs.to_epsg()) == ({str(own.dtype)}, own.bands, 26914)
        assert np.moveaxis(cog.read(), 0, -1).tobytes() == pixels_HWC.tobytes()


@pytest.mark.parametrize(
    ("dtype", "nodata", "targets", "expected"),
    [
        ("uint16", 0, NDVI, np.nan),
        ("uint16", 65535, "bands:1:uint16", 65535),
        ("uint16", 65535, "rgb", 0),
        ("float32", -9999.0, NDVI, np.nan),
        ("float32", np.nan, NDVI, np.nan),
        ("float32", np.nan, "bands:1:uint16", 0),
        ("float32", None, NDVI, np.nan),  # NaN is no measurement, whether it was declared or not
    ],
)
def test_nodata_of_the_source_is_nodata_of_the_output_and_harms_no_other_pixel(
    model, translate, dtype: str, nodata: float | None, targets: str, expected: float
) -> None:
    inputs = f"bands:4:{dtype}:0:3000"
    scene_HWC = measured(dtype)
    hidden_HW = np.zeros((HEIGHT_PX, WIDTH_PX), np.bool_)
    hidden_HW[40:50, 60:75] = True
    scene_HWC[hidden_HW] = np.nan if nodata is None else nodata
    pixels_HWC, declared = read(translate(model(inputs, targets), scene_HWC, nodata))
    assert declared is not None
    np.testing.assert_equal(declared, expected)
    marked_HWC = np.isnan(pixels_HWC) if np.isnan(expected) else pixels_HWC == expected
    np.testing.assert_array_equal(marked_HWC.all(axis=-1), hidden_HW)
    assert np.isfinite(pixels_HWC[~hidden_HW]).all()


def test_a_source_whose_values_all_fit_is_taken_in_its_own_type(model, translate) -> None:
    bundle = model("bands:4:float32:0:3000", NDVI)
    scene_HWC = measured("int16")
    outputs = [translate(bundle, scene_HWC.astype(dtype), output=dtype) for dtype in ("int16", "float32", "float64")]
    pixels = [read(output)[0].tobytes() for output in outputs]
    assert pixels[0] == pixels[1] == pixels[2]


@pytest.mark.parametrize(
    ("dtype", "bands", "message"),
    [
        ("uint16", 3, r"has 3 bands; the model takes 4 \(band 1, band 2, band 3, band 4\)"),
        ("int16", 4, r"holds int16 pixels; the model takes uint16.*trained on, bands:4:uint16:0:3000"),
        ("float32", 4, "holds float32 pixels; the model takes uint16"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(model, translate, dtype: str, bands: int, message: str) -> None:
    with pytest.raises(SizeMismatchError, match=message):
        translate(model(LANDSAT, NDVI), measured(dtype, bands))


def test_measurements_are_no_map_tiles(model, translate, tmp_path: Path) -> None:
    output = translate(model(LANDSAT, NDVI), measured("uint16"))
    with pytest.raises(RasterError, match=r"holds bands:1:float32:-1:1.*Export it as COG"):
        export_xyz(output, tmp_path / "tiles")


def test_a_bundle_names_its_types_and_refuses_pixels_of_another(model) -> None:
    bundle = load_bundle(model(LANDSAT, NDVI))
    assert bundle.spec.dtype == "mixed"
    assert (bundle.gate_pairs.input_NHWC.dtype, bundle.gate_pairs.generated_NHWC.dtype) == (np.uint16, np.float32)
    with pytest.raises(BundleError, match=r"reads 4 bands of uint16 .* has 4 of uint8"):
        Translator(bundle).translate(np.zeros((1, 32, 32, 4), np.uint8))


def test_the_job_of_a_raster_of_floats_pins_what_it_lacks_as_json_can_say_it(model, translate, tmp_path: Path) -> None:
    bundle = model("bands:4:float32:0:3000", NDVI)
    translate(bundle, measured("float32"))
    job = ArchiveJob(source=tmp_path / "scene.tif", output=tmp_path / "o", bundle=bundle, core_px=32, shard_px=32, chunk_px=32)
    pinned = pin_job(job)
    assert (pinned.nodata, pinned.output_nodata) == ("NaN", "NaN")
    assert type(pinned).parse(pinned.model_dump(mode="json"), where="test") == pinned
