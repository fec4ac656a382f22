"""A bundle's generator as one ONNX file, published only if another engine makes the same of it.

The network alone, with fixed statistics: `input` (batch, channels, height, width) -> `generated`, both float32 in [-1, 1], any
batch, and any height and width that are multiples of the lattice. How pixels become such values is the encodings' business;
their names, the lattice, the halo and the bundle's digest are in the file's metadata, under `p2p.`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from p2p_core.config import Config
from p2p_core.errors import BundleError, EngineError, OutputError
from p2p_core.files import write_atomic
from p2p_core.inference.bundle import ModelBundle, load_bundle

__all__ = ["MAX_DIFFERENCE", "OnnxExport", "export_onnx", "largest_difference"]

MAX_DIFFERENCE = 1e-4
"""In [-1, 1]: an eightieth of a grey level. Engines that compute the same differ by rounding, 1e-6 or so."""

_REPORT = "Install the versions of torch, onnxscript and onnxruntime in constraints.txt, and report it if they are these"
_OPSET = 20
_DIGEST = "p2p.bundle_digest"
_MOST = 1 << 16
_RANDOM_SHAPES = ((1, 1, 1), (2, 1, 3))
"""Of the random inputs: images, and how often the size of a training crop along height and width."""


class OnnxExport(Config):
    """What was published. `max_difference`: to PyTorch's output, over all inputs of the gate."""

    path: Path
    bundle_digest: str
    max_difference: float


def export_onnx(bundle_path: Path, dest: Path) -> OnnxExport:
    """Write `dest`, a file that ONNX Runtime was seen to agree with; the same bundle exported again is replaced.

    Raises:
        BundleError: the bundle is damaged, or normalises each picture by itself.
        EngineError: ONNX Runtime cannot run the model, or makes something else of it; nothing is written.
        OutputError: `dest` cannot be written, or something else lies there.
    """
    bundle = load_bundle(bundle_path)
    if bundle.spec.norm != "frozen":
        raise BundleError(
            f"{bundle_path} runs with the norm `{bundle.spec.norm}`: each picture's own statistics; ONNX files hold fixed ones",
            remedy="Export a bundle whose norm is frozen",
        )
    _refuse_what_is_not_ours(dest)
    content = _traced(bundle)
    found = largest_difference(content, bundle)
    if not found <= MAX_DIFFERENCE:  # also where it is not a number
        raise EngineError(
            f"{dest} is not written: ONNX Runtime differs from PyTorch by {found:.2g}; {MAX_DIFFERENCE:g} is allowed",
            remedy=_REPORT,
        )
    write_atomic(dest, content)
    return OnnxExport(path=dest, bundle_digest=bundle.digest, max_difference=found)


def largest_difference(content: bytes, bundle: ModelBundle) -> float:
    """Over the gate pairs and random inputs of several sizes: how far ONNX Runtime is from PyTorch, in [-1, 1].

    Raises:
        EngineError: ONNX Runtime cannot run the model.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        differences = []
        for input_NCHW in _gate_inputs(bundle):
            with torch.inference_mode():
                expected_NCHW = bundle.generator(torch.from_numpy(input_NCHW)).numpy()
            (generated_NCHW,) = session.run(None, {"input": input_NCHW})
            differences.append(float(np.abs(generated_NCHW - expected_NCHW).max()))
    except Exception as error:  # its own classes derive from nothing more particular
        reason = str(error).strip().partition("\n")[0]
        raise EngineError(f"ONNX Runtime cannot run {bundle.spec.name}: {reason}", remedy=_REPORT) from error
    return float(np.max(differences))


def _gate_inputs(bundle: ModelBundle) -> Iterator[NDArray[np.float32]]:
    for pixels_HWC in bundle.gate_pairs.input_NHWC:
        network_HWC = bundle.input_encoding.to_network(pixels_HWC)
        yield np.ascontiguousarray(network_HWC.transpose(2, 0, 1)[np.newaxis], dtype=np.float32)
    rng, lattice_px = np.random.default_rng(0), bundle.spec.lattice_px
    channels = bundle.input_encoding.channels
    crop_px = max(bundle.spec.tile_px // lattice_px, 1) * lattice_px
    for images, height_crops, width_crops in _RANDOM_SHAPES:
        shape = images, channels, height_crops * crop_px, width_crops * crop_px
        yield rng.uniform(-1, 1, shape).astype(np.float32)


def _traced(bundle: ModelBundle) -> bytes:
    """The ONNX file's content: no path of this machine, and the same bytes for the same bundle."""
    lattice_px = bundle.spec.lattice_px
    fewest = -(-bundle.spec.architecture.smallest_px // lattice_px)
    sides = {axis: lattice_px * torch.export.Dim(f"cells_{axis}", min=fewest, max=_MOST) for axis in (2, 3)}
    example_NCHW = torch.zeros(2, bundle.input_encoding.channels, (fewest + 1) * lattice_px, (fewest + 2) * lattice_px)
    with _quiet():
        program = torch.onnx.export(
            bundle.generator,
            (example_NCHW,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=_MOST), **sides},),
            input_names=["input"],
            output_names=["generated"],
            opset_version=_OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]  # stack traces: paths of this machine
        part.doc_string = ""
    onnx.helper.set_model_props(model, _metadata(bundle))
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


def _metadata(bundle: ModelBundle) -> dict[str, str]:
    spec = bundle.spec
    return {
        _DIGEST: bundle.digest,
        "p2p.name": spec.name,
        "p2p.input_encoding": spec.input_encoding,
        "p2p.target_encoding": spec.target_encoding,
        "p2p.norm": spec.norm,
        "p2p.lattice_px": str(spec.lattice_px),
        "p2p.halo_px": str(spec.halo_px),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells users about its own deprecations, and that torchvision is not installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _refuse_what_is_not_ours(dest: Path) -> None:
    if not dest.exists():
        return
    try:
        properties: Any = onnx.load(dest, load_external_data=False).metadata_props
        ours = any(entry.key == _DIGEST for entry in properties)
    except Exception:  # whatever protobuf makes of another file
        ours = False
    if not ours:
        raise OutputError(f"{dest} is in the way and was not exported by p2p", remedy="Move it or choose another destination")
