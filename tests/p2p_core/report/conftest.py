"""A whole demo directory, small and synthetic, written by the code that writes the real one wherever that is light."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from p2p_core.archive.job import PinnedJob
from p2p_core.archive.plan import plan_archive
from p2p_core.archive.seams import SeamCheck
from p2p_core.evaluation.evaluate import Evaluation, Protocol, Scores
from p2p_core.evaluation.sheets import contact_sheet, save_png
from p2p_core.files import write_json
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import StoreLayout
from p2p_core.rasters.cut import cut_scene, cut_xyz, georeference_image
from p2p_core.rasters.grid import Bounds
from p2p_core.rasters.protocol import full_window, grid_of
from p2p_core.rasters.registry import open_raster
from preprocessing.build import build_dataset
from preprocessing.maps import MapsBuilder, MapsParameters, WaterRule
from preprocessing.split import BlockSplit

Pixels = NDArray[np.uint8]
WORLD = Bounds(-180, -90, 180, 90)
REGION = Bounds(-90.0, -66.51326044311186, 0.0, 66.51326044311186)


@dataclass(frozen=True)
class DemoShape:
    """How large the world and its parts are; `region` is whole Web Mercator tiles at `zoom`."""

    region: Bounds = REGION
    zoom: int = 2
    tile_px: int = 30
    block_px: int = 60
    shard_px: int = 64


def synthetic_world(height_px: int, width_px: int, seed: int) -> Pixels:
    """Smooth continents with a little grain, RGB."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (9, 18, 3), dtype=np.uint8)).resize(
        (width_px, height_px), Image.Resampling.BICUBIC
    )
    grain = rng.integers(-12, 12, (height_px, width_px, 1))
    return (np.asarray(coarse).astype(np.int16) // 2 + 60 + grain).clip(0, 255).astype(np.uint8)


def make_demo(directory: Path, map_HWC: Pixels, aerial_HWC: Pixels, shape: DemoShape) -> Path:
    """Everything the demo leaves behind. The 'model' is a mean of the truth and the map, which is enough for a page."""
    directory.mkdir(parents=True)
    make_sources(directory / "sources", map_HWC, aerial_HWC, shape)
    make_pairs(directory / "pairs", directory / "sources", shape)
    make_run(directory / "run", directory / "sources", shape)
    make_evaluation(directory / "evaluation", directory / "sources", shape)
    make_translation(directory, shape)
    demo = demo_record(promoted=True)
    write_json(directory / "demo.json", demo)
    write_json(
        directory / "promotion.json",
        {
            "promoted": True,
            "reason": "test L1 18.93 beats the affine colour fit's 21.40",
            "name": "world-map2aerial",
            "version": "1",
        },
    )
    return directory


def make_sources(sources: Path, map_HWC: Pixels, aerial_HWC: Pixels, shape: DemoShape) -> None:
    sources.mkdir()
    for name, pixels in (("map", map_HWC), ("aerial", aerial_HWC)):
        Image.fromarray(pixels).save(sources / "whole.png", compress_level=1)
        georeference_image(sources / "whole.png", sources / f"{name}.tif", "EPSG:4326", WORLD)
    (sources / "whole.png").unlink()
    cut_scene(sources / "map.tif", sources / "scene.tif", shape.region, like=sources / "aerial.tif")
    cut_scene(sources / "aerial.tif", sources / "scene_target.tif", shape.region)
    cut_xyz(sources / "map.tif", sources / "xyz", shape.zoom, shape.region)


def make_pairs(store: Path, sources: Path, shape: DemoShape) -> None:
    water = WaterRule()
    parameters = MapsParameters(tile_px=shape.tile_px, stride_px=shape.tile_px // 2, source_px=shape.block_px, water=water)
    builder = MapsBuilder((sources / "map.tif", sources / "aerial.tif"), parameters)
    reserved = (builder.window_around(shape.region),)
    rule = BlockSplit(area=builder.area(), block_px=shape.block_px, buffer_px=4, reserved=reserved, wraps=True)
    build_dataset(builder, store, rule, layout=StoreLayout(num_buckets=4, pairs_per_shard=32))


def tiles(sources: Path, name: str, shape: DemoShape, count: int) -> Pixels:
    """Some tiles of a source at the aerial's grid, as (N, H, W, 3)."""
    with open_raster(sources / f"{name}.tif") as raster:
        scale = raster.width_px // aerial_width_px(sources)
        side = shape.tile_px * scale
        chosen = [raster.read(Window(side * (2 + i), side * (3 + i), side, side)) for i in range(count)]
    return np.stack(chosen)[:, ::scale, ::scale]


def aerial_width_px(sources: Path) -> int:
    with open_raster(sources / "aerial.tif") as raster:
        return raster.width_px


def make_run(run: Path, sources: Path, shape: DemoShape) -> None:
    run.mkdir()
    rng = np.random.default_rng(5)
    with (run / "metrics.jsonl").open("w") as file:
        for step in range(1, 61):
            images_seen, decay = step * 100, float(np.exp(-step / 15))
            row = {
                "images_seen": images_seen,
                "generator_l1": 18 + 40 * decay + rng.normal(),
                "generator_gan": 1.1 - 0.4 * decay + 0.1 * rng.normal(),
                "discriminator_loss": 0.55 + 0.1 * decay + 0.02 * rng.normal(),
                "discriminator_real": 0.7 + 0.05 * rng.normal(),
                "discriminator_generated": 0.75 + 0.05 * rng.normal(),
                "images_per_s": 38 + rng.normal(),
            }
            file.write(json.dumps(row) + "\n")
            if step % 10 == 0:
                val = {
                    "val_l1": 19 + 35 * decay,
                    "val_gradient_energy_ratio": 0.8 - 0.5 * decay,
                    "val_checkerboard_ratio": 0.9 + decay,
                }
                file.write(json.dumps({"images_seen": images_seen, **val}) + "\n")
    source, target = tiles(sources, "map", shape, 4), tiles(sources, "aerial", shape, 4)
    for images_seen in range(1000, 6001, 1000):
        generated = (source * (1 - images_seen / 8000) + target * (images_seen / 8000)).astype(np.uint8)
        columns = {"input": source, f"generated, {images_seen} images seen": generated, "target": target}
        save_png(contact_sheet(columns), run / "sheets" / f"{images_seen:08d}.png")


def make_evaluation(evaluation: Path, sources: Path, shape: DemoShape) -> None:
    source, target = tiles(sources, "map", shape, 6), tiles(sources, "aerial", shape, 6)
    generated = (source // 3 + target // 3 * 2).astype(np.uint8)
    affine = (source // 2 + 20).astype(np.uint8)
    columns = {"input": source, "affine baseline": affine, "generated": generated, "target": target}
    save_png(contact_sheet(columns), evaluation / "sheet.png")
    result = Evaluation(
        protocol=Protocol(norm="frozen", crop_px=128),
        model="world",
        model_digest="a" * 64,
        dataset_digest="d" * 64,
        split="test",
        num_images=57,
        scores={
            "model": Scores(l1=18.93, psnr_db=19.81, ssim=0.552, gradient_energy_ratio=0.83, checkerboard_ratio=1.12),
            "affine": Scores(l1=21.40, psnr_db=18.95, ssim=0.561, gradient_energy_ratio=0.34, checkerboard_ratio=0.22),
            "identity": Scores(l1=63.11, psnr_db=10.42, ssim=0.401, gradient_energy_ratio=0.71, checkerboard_ratio=0.50),
        },
        image_l1={},
    )
    write_json(evaluation / "evaluation.json", result.model_dump(mode="json"))


def make_translation(directory: Path, shape: DemoShape) -> None:
    sources = directory / "sources"
    with open_raster(sources / "scene.tif") as source, open_raster(sources / "scene_target.tif") as target:
        mean_HWC = source.read(full_window(source)) // 3 + target.read(full_window(target)) // 3 * 2
        bounds, size = grid_of(source).bounds, (source.height_px, source.width_px)
    Image.fromarray(mean_HWC).save(directory / "mean.png")
    georeference_image(directory / "mean.png", directory / "scene.tif", "EPSG:4326", bounds)
    (directory / "mean.png").unlink()
    with open_raster(sources / "xyz") as raster:
        xyz_size = (raster.height_px, raster.width_px)
    cut_xyz(sources / "aerial.tif", directory / "xyz-tiles", shape.zoom, shape.region)
    write_json(directory / "xyz-tiles" / "export.json", {"P2P_SYNTHETIC": "yes"})
    for name, (height_px, width_px), crs in (("scene", size, "EPSG:4326"), ("xyz", xyz_size, "EPSG:3857")):
        write_json(directory / name / "job.json", pinned_job(height_px, width_px, crs, shape).model_dump(mode="json"))
        check = SeamCheck(
            border_step=5.21, beside_step=5.19, ratio=5.21 / 5.19, num_borders=38, num_windows=4, max_difference=1
        )
        write_json(directory / name / "seams.json", asdict(check))


def pinned_job(height_px: int, width_px: int, crs: str, shape: DemoShape) -> PinnedJob:
    plan = plan_archive(
        height_px, width_px, lattice_px=32, halo_px=63, core_px=shape.shard_px, shard_px=shape.shard_px, chunk_px=shape.shard_px
    )
    return PinnedJob(
        p2p_version="0.1.0",
        source=Path("scene.tif"),
        source_digest="5" * 64,
        height_px=height_px,
        width_px=width_px,
        crs=crs,
        transform=None,
        nodata=None,
        zoom=None,
        bundle=Path("bundle"),
        bundle_digest="a" * 64,
        model_name="world-map2aerial",
        model_version="1",
        input_encoding="rgb",
        target_encoding="rgb",
        engine_version="2.13.0",
        device="cpu",
        threads=1,
        norm="frozen",
        tiling="exact",
        lattice_px=32,
        halo_px=plan.halo_px,
        core_px=plan.core_px,
        window_px=plan.window_px,
        shard_px=plan.shard_px,
        chunk_px=plan.chunk_px,
    )


def demo_record(*, promoted: bool) -> Mapping[str, Any]:
    names = [
        ("cut the sources", 9.4, False, "map.tif, aerial.tif, scene.tif and 16 tiles"),
        ("build", 14.2, True, "unchanged: 1023 pairs, 214 rejected"),
        ("train", 181.7, False, "6,000 images"),
        ("evaluate", 11.3, False, "57 test tiles"),
        ("promote", 1.2, False, "world-map2aerial version 1"),
        ("translate the scene", 42.0, False, "30 blocks on 2 workers"),
        ("translate the tiles", 33.9, False, "16 blocks on 2 workers"),
    ]
    return {
        "steps": [{"name": n, "elapsed_s": s, "reused": r, "detail": d} for n, s, r, d in names],
        "total_s": 293.7,
        "promoted": promoted,
        "model": "models:/world-map2aerial/1",
        "hardware": "2 CPU cores, 4 GB",
        "versions": {"python": "3.11.7", "torch": "2.13.0", "prefect": "3.8.8", "dask": "2026.8.0", "zarr": "3.1.6"},
        "digests": {"dataset": "d" * 64, "bundle": "a" * 64, "output": {"scene": "e" * 64, "xyz": "f" * 64}},
        "budget": {"images": 6000, "chosen_by": "minutes", "minutes": 3.0, "every_images": 1000},
        "ways_to_look": [
            "mlflow ui --backend-store-uri sqlite:///demo-output/mlflow.db",
            "prefect server start",
        ],
    }


@pytest.fixture(scope="session")
def whole_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete demo directory. Not to be changed: `demo` is a copy of one's own."""
    map_HWC, aerial_HWC = synthetic_world(540, 1080, seed=1), synthetic_world(270, 540, seed=2)
    return make_demo(tmp_path_factory.mktemp("demo") / "demo-output", map_HWC, aerial_HWC, DemoShape())


@pytest.fixture
def demo(whole_demo: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_demo, tmp_path / "demo-output"))
