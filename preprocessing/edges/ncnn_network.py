"""The same network for ncnn, whose Winograd convolutions need a fraction of the multiplications on a CPU.

Built from the arrays in memory: a text that names the layers, and their weights one after the other.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import ncnn
import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import WeightsError
from preprocessing.edges.weights import CONVOLUTIONS, HEDWeights

__all__ = ["NcnnHED"]

_MAGIC = 7767517
_FLOAT32 = np.zeros(1, np.int32).tobytes()  # the flag before a layer's weights: stored as they are
_INPUT, _OUTPUT = "photo", "probability"


class NcnnHED:
    """HED on the CPU. Gives the numbers of `torch_network.HED` to some 1e-6, the same ones whatever the number of threads.

    Args:
        weights: of one of the published files.
        num_threads: of one forward pass.
    """

    def __init__(self, weights: HEDWeights, num_threads: int) -> None:
        self._mean = weights.arrays["mean"].reshape(3, 1, 1)
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = num_threads
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        options.use_bf16_storage = False
        # ncnn's own pools keep the buffers of every size they ever saw.
        self._pools = ncnn.PoolAllocator(), ncnn.PoolAllocator()
        options.blob_allocator, options.workspace_allocator = self._pools
        self._shape: tuple[int, ...] = ()
        layers, arrays = _layers(weights)
        with tempfile.TemporaryDirectory() as directory:
            data = Path(directory) / "weights.bin"
            data.write_bytes(b"".join(_FLOAT32 + kernel.tobytes() + bias.tobytes() for kernel, bias in arrays))
            if self._net.load_param_mem(layers) or self._net.load_model(str(data)):
                raise WeightsError("ncnn does not take HED's weights", remedy="Use the engine torch")

    def probabilities(self, photos_NHWC: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, H, W, 3) RGB in 0..255, sides multiples of `STRIDE_PX` -> (N, H, W) probability of an edge."""
        return np.stack([self._probability(photo_HWC) for photo_HWC in photos_NHWC])

    def _probability(self, photo_HWC: NDArray[np.float32]) -> NDArray[np.float32]:
        photo_CHW = np.ascontiguousarray(photo_HWC.transpose(2, 0, 1) - self._mean)
        if photo_HWC.shape != self._shape:
            for pool in self._pools:
                pool.clear()
            self._shape = photo_HWC.shape
        extractor = self._net.create_extractor()
        extractor.input(_INPUT, ncnn.Mat(photo_CHW))
        failed, probability = extractor.extract(_OUTPUT)
        if failed:
            raise MemoryError(f"ncnn failed on {photo_HWC.shape[1]}x{photo_HWC.shape[0]} px (code {failed})")
        probability_HW: NDArray[np.float32] = np.array(probability, np.float32)[0]
        return probability_HW


def _layers(weights: HEDWeights) -> tuple[str, list[tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """ncnn's text of the network, and the (kernel, bias) of its convolutions in order."""
    lines = [f"Input {_INPUT} 0 1 {_INPUT}"]
    arrays = []
    blobs = [_INPUT]

    def add(kind: str, sources: list[str], results: list[str], options: str) -> None:
        lines.append(f"{kind} {results[0]} {len(sources)} {len(results)} {' '.join(sources + results)} {options}")
        blobs.extend(results)

    def convolution(name: str, source: str, *, relu: bool) -> str:
        kernel, bias = weights.arrays[f"{name}.weight"], weights.arrays[f"{name}.bias"]
        size_px = kernel.shape[2]
        options = f"0={len(kernel)} 1={size_px} 4={size_px // 2} 5=1 6={kernel.size} 9={int(relu)}"
        add("Convolution", [source], [name], options)
        arrays.append((kernel, bias))
        return name

    features, sides = _INPUT, []
    for stage, count in enumerate(CONVOLUTIONS, start=1):
        if stage > 1:
            add("Pooling", [features], [f"pool{stage}"], "0=0 1=2 2=2")
            features = f"pool{stage}"
        for index in range(1, count + 1):
            features = convolution(f"stage{stage}.{index}", features, relu=True)
        add("Split", [features], [f"down{stage}", f"side{stage}"], "")
        score = convolution(f"score{stage}", f"side{stage}", relu=False)
        if stage > 1:
            factor = 2 ** (stage - 1)
            add("Interp", [score], [f"up{stage}"], f"0=2 1={factor}.0 2={factor}.0")
            score = f"up{stage}"
        if shift_px := weights.shifts_px[stage - 1]:
            add("Padding", [score], [f"wide{stage}"], f"0=0 1={shift_px} 2=0 3={shift_px} 4=1")  # 4=1: the border is repeated
            add("Crop", [f"wide{stage}"], [f"moved{stage}"], f"0={shift_px} 1={shift_px} 2=0 3=-233 4=-233 5=-233")
            score = f"moved{stage}"
        sides.append(score)
        features = f"down{stage}"
    add("Concat", sides, ["sides"], "0=0")
    add("Sigmoid", [convolution("fuse", "sides", relu=False)], [_OUTPUT], "")
    return "\n".join([str(_MAGIC), f"{len(lines)} {len(blobs)}", *lines, ""]), arrays
