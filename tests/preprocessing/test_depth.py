"""Rasters and pictures of several bands and more than 8 bits: they keep both, nodata stays out, what does not fit says why."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from p2p_core.encodings import encoding
from p2p_core.errors import ConfigError, RasterError
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.pairstore.reader import PairStore
from p2p_core.rasters.geotiff import open_geotiff, warped
from preprocessing.align import resize
from preprocessing.build import build_dataset
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.frames import FramesBuilder, FramesParameters
from preprocessing.maps import MapsBuilder, MapsParameters, WaterRule
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.quality import QualityRule
from preprocessing.raster_encoding import fitting_encoding
from preprocessing.split import NameSplit

LANDSAT, NDVI = "bands:4:uint16:0:3000", "bands:1:float32:-1:1"


def landsat(height_px: int = 64, width_px: int = 64, seed: int = 0) -> NDArray[np.uint16]:
    return np.random.default_rng(seed).integers(200, 2900, (height_px, width_px, 4)).astype(np.uint16)


def ndvi_of(landsat_HWC: NDArray[np.uint16]) -> NDArray[np.float32]:
    red, nir = landsat_HWC[..., 2:3].astype(np.float32), landsat_HWC[..., 3:].astype(np.float32)
    return (nir - red) / (nir + red)


def parameters(**values: object) -> MapsParameters:
    defaults = {"tile_px": 16, "source_px": 32, "input_encoding": LANDSAT, "target_encoding": NDVI}
    return MapsParameters.model_validate({**defaults, **values})


def outcomes(builder: MapsBuilder | FoldersBuilder) -> dict[str, Outcome]:
    found = [outcome for source in builder.sources() for outcome in builder.build(source)]  # type: ignore[arg-type]
    return {o.pair_id if isinstance(o, Pair) else o.item: o for o in found}


@pytest.fixture
def scene(tmp_path: Path, save_geotiff: Callable[..., Path]) -> tuple[Path, Path]:
    return save_geotiff(tmp_path / "landsat.tif", landsat()), save_geotiff(tmp_path / "ndvi.tif", ndvi_of(landsat()))


def test_rasters_of_one_grid_are_stored_bit_for_bit(scene: tuple[Path, Path], tmp_path: Path) -> None:
    build_dataset(MapsBuilder(scene, parameters()), tmp_path / "store", NameSplit())
    store = PairStore.open(tmp_path / "store")
    assert sum(store.manifest.counts.values()) == 16
    for split in ("train", "val", "test"):
        if not store.manifest.counts[split]:
            continue
        pairs = store.split(split)
        for i, record in enumerate(pairs.records):
            assert record.window is not None
            input_HWC, target_HWC = pairs.read(i)
            assert (input_HWC.dtype, target_HWC.dtype) == (np.uint16, np.float32)
            assert np.array_equal(input_HWC, landsat()[record.window.slices])
            assert target_HWC.tobytes() == ndvi_of(landsat())[record.window.slices].tobytes()


def test_two_workers_make_the_same_bytes_as_one(scene: tuple[Path, Path], tmp_path: Path, tree) -> None:
    layout = StoreLayout(num_buckets=4, pairs_per_shard=3)
    build_dataset(MapsBuilder(scene, parameters()), tmp_path / "one", NameSplit(), layout=layout)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        build_dataset(MapsBuilder(scene, parameters()), tmp_path / "two", NameSplit(), layout=layout, executor=executor)
    assert tree(tmp_path / "one" / "versions") == tree(tmp_path / "two" / "versions")


def test_an_input_of_another_resolution_keeps_its_bands_and_depth(tmp_path: Path, save_geotiff) -> None:
    fine = landsat(128, 128)
    places = save_geotiff(tmp_path / "in.tif", fine, pixel=0.05), save_geotiff(tmp_path / "out.tif", ndvi_of(landsat()))
    mean = fine.reshape(64, 2, 64, 2, 4).astype(np.float64).mean(axis=(1, 3))
    for pair in outcomes(MapsBuilder(places, parameters())).values():
        assert isinstance(pair, Pair)
        assert pair.window is not None
        assert pair.input_HWC.dtype == np.uint16
        assert np.abs(pair.input_HWC - mean[pair.window.slices]).max() <= 0.5


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [(kind, nodata) for kind in (np.float32, np.float64) for nodata in (None, -9999.0, np.nan)] + [(np.int16, -9999.0)],
)
def test_what_a_resampled_raster_does_not_hold_is_never_a_measurement(
    tmp_path: Path, save_geotiff, dtype: type, nodata: float | None
) -> None:
    ramp = np.random.default_rng(3).uniform(100, 200, (64, 64, 1)).astype(dtype)
    if nodata is not None:
        ramp[20:28, 20:28] = nodata
    places = (
        save_geotiff(tmp_path / "dem.tif", ramp, west=10.03, north=49.97, nodata=nodata),
        save_geotiff(tmp_path / "out.tif", ndvi_of(landsat(56, 56)), west=10.6, north=49.5),
    )
    names = {"input_encoding": "bands:1:float32:0:300", "bounds": (10.6, 44.0, 16.0, 49.4), "tile_px": 8, "source_px": 64}
    found = outcomes(MapsBuilder(places, parameters(**names, max_nodata_fraction=0.3)))
    rejected = {o.reason for o in found.values() if isinstance(o, Rejected)}
    assert rejected == ({"nodata"} if nodata is not None else set())
    pairs = [o.input_HWC for o in found.values() if isinstance(o, Pair)]
    values = np.unique(np.concatenate([pixels.ravel() for pixels in pairs]))
    assert values.dtype == np.float32
    assert ((values >= 99.9) & (values <= 200.1) | (values == 0)).all(), "nodata is blended into no pixel, and 0 in a kept tile"
    assert (values == 0).any() == (nodata is not None)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_a_grid_outside_of_a_raster_without_nodata_is_not_measured(tmp_path: Path, save_geotiff, dtype: str) -> None:
    path = save_geotiff(tmp_path / "dem.tif", np.full((16, 16, 2), 7, dtype))
    with warped(path, "EPSG:4326", (0.08, 0, 9.6, 0, -0.08, 50.4), 20, 20) as raster:
        pixels_HWC, measured_HW = raster.read_measured(Window(0, 0, 20, 20))
    assert pixels_HWC.dtype == dtype
    assert measured_HW[5:, 5:].all()
    assert not measured_HW[:5].any()
    assert not measured_HW[:, :5].any()
    assert np.allclose(pixels_HWC[..., 1], np.where(measured_HW, 7, 0))


def test_nodata_of_all_bands_rejects_a_tile_and_in_a_kept_one_is_the_fill(tmp_path: Path, save_geotiff) -> None:
    measured, target = landsat(), ndvi_of(landsat())
    measured[:16, :16], measured[20, 20:24] = 65535, 65535
    target[40, 40:44] = np.nan
    places = (
        save_geotiff(tmp_path / "in.tif", measured, nodata=65535),
        save_geotiff(tmp_path / "out.tif", target, nodata=float("nan")),
    )
    found = outcomes(MapsBuilder(places, parameters()))
    corner = found["y0000000_x0000000"]
    assert isinstance(corner, Rejected)
    assert (corner.reason, corner.detail) == ("nodata", "100.0% of its pixels hold no data")
    kept = found["y0000016_x0000016"], found["y0000032_x0000032"]
    assert isinstance(kept[0], Pair)
    assert isinstance(kept[1], Pair)
    assert (kept[0].input_HWC[4, 4:8] == 0).all()
    assert (kept[1].target_HWC[8, 8:12] == 0).all()
    assert np.isfinite(kept[1].target_HWC).all()


def test_values_that_are_no_numbers_reject_their_tile_and_no_other(tmp_path: Path, save_geotiff) -> None:
    target = ndvi_of(landsat())
    target[5, 5], target[40, 40] = np.nan, np.inf
    places = save_geotiff(tmp_path / "in.tif", landsat()), save_geotiff(tmp_path / "out.tif", target)
    found = outcomes(MapsBuilder(places, parameters()))
    rejected = {item: o.detail for item, o in found.items() if isinstance(o, Rejected)}
    assert set(rejected) == {"y0000000_x0000000", "y0000032_x0000032"}
    detail = "1 values of the target are NaN or infinite; if they mean no measurement, declare NaN as the raster's nodata"
    assert set(rejected.values()) == {detail}
    build_dataset(MapsBuilder(places, parameters()), tmp_path / "store", NameSplit())  # thumbnails of them are made, too
    assert PairStore.open(tmp_path / "store").manifest.rejected == {"not_finite": 2}


@pytest.mark.parametrize(
    ("pixels", "given", "proposed"),
    [
        (landsat(), "rgb", r"landsat\.tif has 4 bands of uint16; rgb needs 3 of uint8.*=bands:4:uint16:2\d0:2900"),
        (landsat()[..., :3].astype(np.uint8), LANDSAT, "3 bands of uint8.*--set input_encoding=rgb. Or"),
        (landsat()[..., :2].astype(np.uint8), "rgb", "2 bands of uint8.*--set input_encoding=bands:2:uint8. Or"),
        (ndvi_of(landsat()), "rgb", r"1 bands of float32.*input_encoding=bands:1:float32:-0\.[89]\d*:0\.[89]"),
        (landsat().astype(np.int16) - 500, "bands:4:uint16", r"bands of int16; bands:4:uint16 needs.*=bands:4:float32:-\d+:2"),
        (landsat().astype(np.float64) * 1e-7, "rgb", "float64.*bands:4:float32:2e-05:0.00029"),
    ],
)  # fmt: skip
def test_a_raster_that_does_not_fit_is_told_with_the_encoding_that_does(
    tmp_path: Path, save_geotiff, pixels: NDArray[np.generic], given: str, proposed: str
) -> None:
    places = save_geotiff(tmp_path / "landsat.tif", pixels), save_geotiff(tmp_path / "out.tif", ndvi_of(landsat()))
    with pytest.raises(RasterError, match=proposed) as error:
        MapsBuilder(places, parameters(input_encoding=given)).sources()
    fitting = str(error.value).partition("input_encoding=")[2].split(",")[0].split(". ")[0]
    assert MapsBuilder(places, parameters(input_encoding=fitting)).sources(), "what it proposes is taken"


def test_the_proposed_range_holds_nearly_all_values_of_every_band(tmp_path: Path, save_geotiff) -> None:
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.normal(mean, 50, (200, 200)) for mean in (1000, 5000)], axis=-1).astype(np.float32)
    with open_geotiff(save_geotiff(tmp_path / "a.tif", pixels)) as raster:
        name = fitting_encoding(raster)
    assert name is not None
    levels = encoding(name).to_grey_levels(pixels)
    assert ((levels > 0) & (levels < 255)).mean() > 0.96
    with open_geotiff(save_geotiff(tmp_path / "flat.tif", np.full((20, 20, 1), 7, np.uint16))) as raster:
        assert fitting_encoding(raster) == "bands:1:uint16:7:8"
    with open_geotiff(save_geotiff(tmp_path / "many.tif", np.zeros((20, 20, 17), np.uint16))) as raster:
        assert fitting_encoding(raster) is None


def test_uniform_is_judged_in_the_scale_of_the_encoding() -> None:
    rng = np.random.default_rng(0)
    lively = rng.uniform(0, 1, (16, 16, 1)).astype(np.float32)
    faint = (lively * 0.01).astype(np.float32)
    names = "bands:1:float32:0:1", "bands:1:float32:0:1"
    pair = Pair("p", "s", lively, faint)
    outcome = QualityRule().judge(pair, names)
    assert isinstance(outcome, Rejected)
    assert outcome.detail == "The target varies by 0.76 grey levels of bands:1:float32:0:1, less than 1"
    assert QualityRule().judge(pair, (names[0], "bands:1:float32:0:0.01")) is pair
    outside = QualityRule().judge(Pair("p", "s", lively, lively + 7), names)
    assert isinstance(outside, Rejected), "what is cut to the end of the range shows nothing"
    many = rng.integers(0, 3000, (16, 16, 16)).astype(np.uint16)
    assert isinstance(QualityRule().judge(Pair("p", "s", many, lively), ("bands:16:uint16", names[1])), Rejected) is False


def test_the_water_rule_looks_at_levels_of_measurements() -> None:
    water = np.zeros((4, 4, 4), np.uint16)
    water[..., 2] = 600
    levels = encoding(LANDSAT).to_grey_levels(water)
    assert WaterRule().fraction(levels) == 1
    with pytest.raises(ValueError, match="red and blue"):
        parameters(input_encoding=NDVI, water=WaterRule())


@pytest.mark.parametrize("bands", [1, 3])
def test_pictures_of_16_bits_keep_them(tmp_path: Path, bands: int) -> None:
    name = f"bands:{bands}:uint16"
    deep = np.random.default_rng(0).integers(0, 65536, (4, 24, 32, bands)).astype(np.uint16)
    for i, (role, picture) in enumerate(zip(("in", "out", "in", "out"), deep, strict=True)):
        (tmp_path / role).mkdir(exist_ok=True)
        assert cv2.imwrite(str(tmp_path / role / f"{i // 2}.png"), picture[..., ::-1])
    places = tmp_path / "in", tmp_path / "out"
    builder = FoldersBuilder(places, FoldersParameters(layout="two", input_encoding=name, target_encoding=name))
    found = outcomes(builder)
    assert np.array_equal(found["0"].input_HWC, deep[0])  # type: ignore[union-attr]
    assert np.array_equal(found["1"].target_HWC, deep[3])  # type: ignore[union-attr]
    shallow = outcomes(FoldersBuilder(places, FoldersParameters(layout="two")))["0"]
    assert isinstance(shallow, Rejected)
    assert shallow.detail.startswith(f"input/0.png has {bands} bands of uint16; rgb needs 3 of uint8; bands:{bands}:uint16:")
    assert shallow.detail.endswith(" would fit it")


def test_multi_band_tiff_pictures_are_paired_and_resized_with_all_their_bands(tmp_path: Path, save_geotiff) -> None:
    for role, bands, dtype in (("in", 7, np.uint16), ("out", 1, np.float32)):
        (tmp_path / role).mkdir()
        save_geotiff(tmp_path / role / "a.tif", np.random.default_rng(1).uniform(0, 999, (24, 32, bands)).astype(dtype))
    names = {"input_encoding": "bands:7:uint16:0:999", "target_encoding": "bands:1:float32:0:999"}
    own = FoldersParameters.model_validate({"layout": "two", "resize_px": (10, 15), **names})
    pair = outcomes(FoldersBuilder((tmp_path / "in", tmp_path / "out"), own))["a"]
    assert isinstance(pair, Pair)
    assert (pair.input_HWC.shape, pair.input_HWC.dtype) == ((10, 15, 7), np.uint16)
    assert (pair.target_HWC.shape, pair.target_HWC.dtype) == ((10, 15, 1), np.float32)


@pytest.mark.parametrize("name", ["bands:5:uint16:0:4000", "bands:2:float32:0:4000"])
def test_near_duplicates_of_measurements_are_settled_and_the_others_keep_every_bit(
    tmp_path: Path, save_geotiff, name: str
) -> None:
    own, drawn = encoding(name), {}
    for i in range(8):
        coarse = np.random.default_rng(i // 2).uniform(100, 3900, (6, 6, own.bands)).astype(np.float32)
        drawn[f"{i}"] = (resize(coarse, 24, 24).clip(0, 4000) + i % 2).astype(own.dtype)  # two and two are nearly the same
        for role in ("in", "out"):
            (tmp_path / role).mkdir(exist_ok=True)
            save_geotiff(tmp_path / role / f"{i}.tif", drawn[f"{i}"])
    values = {"layout": "two", "input_encoding": name, "target_encoding": name}
    builder = FoldersBuilder((tmp_path / "in", tmp_path / "out"), FoldersParameters.model_validate(values))
    build_dataset(builder, tmp_path / "store", NameSplit(near_duplicates="reject"))
    store = PairStore.open(tmp_path / "store")
    assert store.manifest.rejected == {"near_duplicate": 4}
    for split in (store.split(name) for name, count in store.manifest.counts.items() if count):
        for i, record in enumerate(split.records):
            for pixels_HWC in split.read(i):
                assert pixels_HWC.dtype == own.dtype
                assert pixels_HWC.tobytes() == drawn[record.pair_id].tobytes()


@pytest.mark.parametrize("size_px", [(12, 12), (13, 17), (48, 40)])
def test_any_number_of_bands_is_resized_as_each_alone(size_px: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).normal(size=(24, 24, 13)).astype(np.float32)
    alone = np.concatenate([resize(pixels[..., band : band + 1], *size_px) for band in range(13)], axis=-1)
    assert np.allclose(resize(pixels, *size_px), alone, atol=1e-5)


def test_frames_are_pictures(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="8-bit pictures, which bands:1:uint16 is not"):
        FramesBuilder(
            (tmp_path / "a", tmp_path / "b"), FramesParameters(resize_px=(8, 8), input_encoding="bands:1:uint16")
        )  # fmt: skip
