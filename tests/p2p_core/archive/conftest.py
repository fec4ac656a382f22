"""A small U-Net whose far context matters, and a scene to translate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
import zarr
from numpy.typing import NDArray

from p2p_core.archive.job import ArchiveJob
from p2p_core.files import sha256_file
from p2p_core.inference.bundle import BundleSpec, ModelBundle, load_bundle, save_bundle
from p2p_core.model.generator import ResNetConfig, UNetConfig, make_generator
from p2p_core.model.norm import BatchNorm

CORE_PX = 64
HEIGHT_PX, WIDTH_PX = 230, 300  # no multiple of anything: blocks, cores and chunks are cut at two edges
TRANSFORM = (0.25, 0.0, -70.0, 0.0, -0.25, 10.0)


UNET = UNetConfig(depth=5, base_width=4)


def make_bundle(path: Path, seed: int = 1, config: UNetConfig | ResNetConfig = UNET) -> Path:
    """A network with large weights, random scales and the running statistics of noise: every level matters."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    net = make_generator(config)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    torch.nn.init.normal_(list(net.parameters())[-2], 0, 0.15)  # the last convolution: keep tanh out of saturation
    with torch.no_grad():
        for _ in range(8):
            net(torch.rand(2, 3, 128, 128) * 2 - 1)
    spec = BundleSpec(
        name="archive-test",
        architecture=config,
        input_encoding="rgb",
        target_encoding="rgb",
        tile_px=128,
        recipe="test",
        images_seen=16,
        dataset_digest="0" * 64,
        metrics={},
    )
    pairs = np.random.default_rng(seed).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    save_bundle(path, spec, net, pairs, pairs)
    return path


def make_scene(seed: int = 0, height_px: int = HEIGHT_PX, width_px: int = WIDTH_PX) -> NDArray[np.uint8]:
    """Smooth hills with noise on them, (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height_px, :width_px]
    hills = np.stack([np.sin(x / 23 + band) * np.cos(y / 31 - band) for band in range(3)], axis=-1)
    return (127 + 90 * hills + rng.normal(0, 20, hills.shape)).clip(0, 255).astype(np.uint8)


def write_tiff(path: Path, pixels_HWC: NDArray[np.uint8], *, crs: str = "EPSG:4326", nodata: int | None = None) -> Path:
    """A tiled GeoTIFF, by rasterio and not by this project's writer."""
    profile = {"driver": "GTiff", "dtype": "uint8", "count": pixels_HWC.shape[2], "nodata": nodata}
    size = {"height": pixels_HWC.shape[0], "width": pixels_HWC.shape[1], "tiled": True, "blockxsize": 64, "blockysize": 64}
    with rasterio.open(path, "w", crs=crs, transform=rasterio.Affine(*TRANSFORM), **profile, **size) as tiff:
        tiff.write(np.moveaxis(pixels_HWC, -1, 0))
    return path


@pytest.fixture(scope="session")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model") / "bundle")


@pytest.fixture(scope="session")
def other_bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model") / "other", seed=2)


@pytest.fixture(scope="session")
def resnet_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("model") / "resnet", config=ResNetConfig(num_blocks=6, base_width=6))


@pytest.fixture(scope="session")
def bundle(bundle_path: Path) -> ModelBundle:
    return load_bundle(bundle_path)


@pytest.fixture(scope="session")
def scene_HWC() -> NDArray[np.uint8]:
    return make_scene()


@pytest.fixture
def scene_path(tmp_path: Path, scene_HWC: NDArray[np.uint8]) -> Path:
    return write_tiff(tmp_path / "scene.tif", scene_HWC)


@pytest.fixture(scope="session")
def write_scene() -> Callable[..., Path]:
    return write_tiff


@pytest.fixture(scope="session")
def read_image() -> Callable[[Path], NDArray[np.uint8]]:
    """An output's pixels, by zarr and not by this project's reader."""
    return lambda output: np.asarray(zarr.open_array(output / "image.zarr", mode="r")[:])


@pytest.fixture(scope="session")
def shard_digests() -> Callable[[Path], dict[str, str]]:
    """sha256 of every stored shard file of an output."""

    def digests(output: Path) -> dict[str, str]:
        root = output / "image.zarr"
        return {str(path.relative_to(root)): sha256_file(path) for path in sorted((root / "c").rglob("*")) if path.is_file()}

    return digests


JobFactory = Callable[..., ArchiveJob]


@pytest.fixture
def make_job(tmp_path: Path, scene_path: Path, bundle_path: Path) -> JobFactory:
    """`make_job(output="name", **changes)`: small blocks, so that there are many."""

    def make(output: str = "out", **changes: object) -> ArchiveJob:
        values = {"source": scene_path, "bundle": bundle_path, "core_px": CORE_PX, "shard_px": CORE_PX, "chunk_px": 32}
        return ArchiveJob.parse({**values, "output": tmp_path / output, **changes}, where="test")

    return make
