"""Real photos, the real detector, and HED in miniature: random, a few channels wide, in each of the three layouts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from p2p_core.files import sha256_file
from preprocessing.edges.detect import DetectorConfig, EdgeDetector, WeightsChoice
from preprocessing.edges.weights import CONVOLUTIONS, HEDWeights, read_weights

Array = NDArray[Any]
WIDTHS = (4, 5, 6, 7, 8)
TITLES = ("One", "Two", "Thr", "Fou", "Fiv")
CAFFE_MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)


@dataclass(frozen=True)
class Tiny:
    """`kernels`: (height, width, in, out) by layer, where the first takes BGR. The fuse is the mean of the scores."""

    kernels: dict[str, Array]
    biases: dict[str, Array]

    def save_keras(self, path: Path) -> WeightsChoice:
        import h5py

        with h5py.File(path, "w") as file:
            for name, kernel in self.kernels.items():
                stage, _, index = name.partition(".")
                k = int(index or 1) - 1
                place = f"block{stage}/layers/conv2d" + (f"_{k}" if k else "") if index else name
                file[f"{place}/vars/0"], file[f"{place}/vars/1"] = kernel, self.biases[name]
        return choice(path)

    def save_caffe(self, path: Path, prefix: str = "module") -> WeightsChoice:
        import torch

        state = {}
        for name, kernel in self.kernels.items():
            stage, _, index = name.partition(".")
            if index:
                place = f"Vgg{TITLES[int(stage) - 1]}.{2 * (int(index) - 1) + (int(stage) > 1)}"
            else:
                place = "Combine.0" if name == "fuse" else f"Score{TITLES[int(name[-1]) - 1]}"
            state[f"{prefix}{place}.weight"] = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
            state[f"{prefix}{place}.bias"] = torch.from_numpy(self.biases[name])
        torch.save(state, path)
        return choice(path)

    def save_control_net(self, path: Path, mean_bgr: tuple[float, ...]) -> WeightsChoice:
        import torch

        state = {"norm": torch.tensor(mean_bgr[::-1]).reshape(1, 3, 1, 1)}
        for name, kernel in self.kernels.items():
            stage, _, index = name.partition(".")
            if name == "fuse":
                continue
            place = f"block{stage}.convs.{int(index) - 1}" if index else f"block{name[-1]}.projection"
            kernel_OIHW = kernel.transpose(3, 2, 0, 1)
            kernel_OIHW = kernel_OIHW[:, ::-1] if name == "1.1" else kernel_OIHW
            state[f"{place}.weight"] = torch.from_numpy(kernel_OIHW.copy())
            state[f"{place}.bias"] = torch.from_numpy(self.biases[name])
        torch.save(state, path)
        return choice(path)


def choice(path: Path) -> WeightsChoice:
    return WeightsChoice(path=path, sha256=sha256_file(path))


def make_tiny(seed: int) -> Tiny:
    """Layers `STAGE.INDEX`, `dsnSTAGE` and `fuse`; scaled so that every stage has a say in the probability."""
    rng = np.random.default_rng(seed)
    kernels, biases = {}, {}
    bands = 3
    for stage, (count, width) in enumerate(zip(CONVOLUTIONS, WIDTHS, strict=True), start=1):
        for index in range(1, count + 1):
            scale = np.sqrt(2 / (9 * bands)) / (60 if (stage, index) == (1, 1) else 1)
            kernels[f"{stage}.{index}"] = (scale * rng.standard_normal((3, 3, bands, width))).astype(np.float32)
            biases[f"{stage}.{index}"] = (0.1 * rng.standard_normal(width)).astype(np.float32)
            bands = width
        kernels[f"dsn{stage}"] = rng.standard_normal((1, 1, bands, 1)).astype(np.float32)
        biases[f"dsn{stage}"] = rng.standard_normal(1).astype(np.float32)
    kernels["fuse"], biases["fuse"] = np.full((1, 1, 5, 1), 0.2, np.float32), np.zeros(1, np.float32)
    return Tiny(kernels, biases)


@pytest.fixture(scope="session")
def tiny() -> Callable[[int], Tiny]:
    """A seed -> HED in miniature."""
    return make_tiny


@pytest.fixture(scope="session")
def tiny_choice(tmp_path_factory: pytest.TempPathFactory) -> WeightsChoice:
    """One such network in a file."""
    return make_tiny(1).save_keras(tmp_path_factory.mktemp("weights") / "tiny.weights.h5")


@pytest.fixture(scope="session")
def tiny_detector(tiny_choice: WeightsChoice) -> Callable[..., EdgeDetector]:
    """DetectorConfig's values, and `batch` -> a detector with that network: for what does not depend on the weights."""
    weights = read_weights(tiny_choice.path, sha256=tiny_choice.sha256)
    return lambda batch=4, **values: EdgeDetector(weights, DetectorConfig(**values), batch=batch)


@pytest.fixture(scope="session")
def hed_weights() -> HEDWeights:
    """The published ones."""
    return read_weights()


@pytest.fixture(scope="session")
def detector(hed_weights: HEDWeights) -> EdgeDetector:
    return EdgeDetector(hed_weights, DetectorConfig())


@pytest.fixture(scope="session")
def torch_detector(hed_weights: HEDWeights) -> EdgeDetector:
    return EdgeDetector(hed_weights, DetectorConfig(engine="torch"))


def shipped_photo(name: str, height_px: int, width_px: int) -> NDArray[np.uint8]:
    photo_HWC = getattr(skimage.data, name)()
    resized = cv2.resize(photo_HWC, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return resized if resized.ndim == 3 else resized[..., np.newaxis]


@pytest.fixture(scope="session")
def photo() -> Callable[[str, int, int], NDArray[np.uint8]]:
    """(name, height_px, width_px) -> a photo that scikit-image ships, at that size."""
    return shipped_photo
