"""U-Net generators saved by the reference PyTorch code (junyanz/pytorch-CycleGAN-and-pix2pix): `latest_net_G.pth`.

The reference nests its U-Net. Each block holds the next smaller one in its middle and joins that block's output behind its own
input. So the outermost block's tensors are `model.model.0` and `model.model.3`, those of the next `model.model.1.model.1` and
so on, and inwards `model.model.1.model.3.model.1`. Three things differ from our U-Net, and none of them changes the function:
- the skip comes first in the concatenation, ours comes last: the halves of an up convolution's input channels change places;
- LeakyReLU works in place, so the skip is the activated feature; the ReLU that follows makes the same of both;
- dropout follows the norm in the blocks of full width, but not in the innermost: `UNetConfig.dropout_levels`. It has no
  tensors, so a file does not tell whether there was any.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from p2p_core.errors import WeightsError
from p2p_core.model.generator import UNet, UNetConfig

__all__ = ["load_reference_generator"]

_MAX_DEPTH = 10
_FULL_WIDENING_LEVEL = 4
"""From here on all levels have 8 times the base width; the reference drops out on the decoder levels that stay within them."""
_REMEDY = "Give the generator as the reference's training saves it: checkpoints/NAME/latest_net_G.pth"


def load_reference_generator(path: Path, *, dropout: float = 0.5) -> UNet:
    """The generator in `path`, in `eval()`: the same function of the same input, up to rounding.

    Depth, width, bands and norm are read off the tensors. Nothing is unpickled but plain tensors.

    Args:
        dropout: what it was trained with; 0 for the reference's `--no_dropout`.

    Raises:
        WeightsError: the file is missing, damaged, holds anything but tensors, or another network than a U-Net generator.
    """
    tensors = _read(path)
    config = _recognised(tensors, dropout, path)
    generator = UNet(config)
    wanted, places = generator.state_dict(), dict(_places(config))
    state: dict[str, Tensor] = {}
    for name, own in wanted.items():
        module, _, kind = name.rpartition(".")
        theirs = f"{places[module]}.{kind}"
        if kind == "num_batches_tracked":  # PyTorch before 0.4.1 saved none
            state[name] = tensors.pop(theirs, own)
        elif theirs not in tensors:
            raise WeightsError(f"{path} lacks {theirs}, which a U-Net of depth {config.depth} has", remedy=_REMEDY)
        else:
            state[name] = _fitting(tensors.pop(theirs), own, theirs, path)
    if config.norm == "instance":  # PyTorch before 0.4 saved statistics that it never used
        tensors = {name: value for name, value in tensors.items() if not name.endswith(("running_mean", "running_var"))}
    if tensors:
        raise WeightsError(f"{path} holds {min(tensors)}, which a U-Net of depth {config.depth} has not", remedy=_REMEDY)
    for index in range(1, config.depth):
        name = f"decoder.{index}.1.weight"
        skip, decoded = state[name].chunk(2)
        state[name] = torch.cat([decoded, skip])
    generator.load_state_dict(state)
    return generator.eval()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}", remedy=_REMEDY) from error
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # whatever its reader makes of a file that only the caller vouches for
        what = _first_sentence(error)
        raise WeightsError(f"{path} is damaged, or holds more than plain tensors: {what}", remedy=_REMEDY) from None
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()) or not loaded:
        raise WeightsError(f"{path} holds no table of tensors", remedy=_REMEDY)
    return {str(name).removeprefix("module."): value.float() for name, value in loaded.items()}


def _first_sentence(error: Exception) -> str:
    return re.split(r"\.\s|\n", str(error).strip(), maxsplit=1)[0][:200] or type(error).__name__


class _Block(NamedTuple):
    """Where a level's tensors are. Levels count from 1, the outermost; norms are None where there are none by design."""

    down: str
    down_norm: str | None
    up: str
    up_norm: str | None


def _block(level: int, depth: int) -> _Block:
    """Sequential places: [LeakyReLU] conv [norm] block ReLU conv norm; the outermost ends in tanh instead of a norm."""
    inner = "model.model" + (".1.model" if level > 1 else "") + ".3.model" * max(0, level - 2)
    if level == 1:
        return _Block(f"{inner}.0", None, f"{inner}.3", None)
    if level == depth:
        return _Block(f"{inner}.1", None, f"{inner}.3", f"{inner}.4")
    return _Block(f"{inner}.1", f"{inner}.2", f"{inner}.5", f"{inner}.6")


def _places(config: UNetConfig) -> Iterator[tuple[str, str]]:
    """(our module, the reference's) of every convolution and norm."""
    for level in range(1, config.depth + 1):
        block, ours, theirs = _block(level, config.depth), level - 1, config.depth - level
        yield f"encoder.{ours}.{0 if level == 1 else 1}", block.down
        yield f"decoder.{theirs}.1", block.up
        if block.down_norm:
            yield f"encoder.{ours}.2", block.down_norm
        if block.up_norm:
            yield f"decoder.{theirs}.2", block.up_norm


def _recognised(tensors: Mapping[str, Tensor], dropout: float, path: Path) -> UNetConfig:
    """The architecture that these tensors' names and shapes speak of."""
    depth = sum(f"{_block(level, 0).down}.weight" in tensors for level in range(1, _MAX_DEPTH + 1))
    ends = [tensors.get(f"{place}.weight") for place in (_block(1, depth).down, _block(1, depth).up)]
    if depth < 2 or any(end is None or end.ndim != 4 for end in ends):
        what = "is a ResNet generator" if any("conv_block" in name for name in tensors) else "is no U-Net generator"
        raise WeightsError(f"{path} {what} of the reference code; its first tensor is {min(tensors)}", remedy=_REMEDY_UNET)
    first, last = (end for end in ends if end is not None)
    values = {
        "input_bands": first.shape[1],
        "output_bands": last.shape[1],
        "depth": depth,
        "base_width": first.shape[0],
        "norm": _norm(tensors, depth),
        "dropout": dropout,
        "dropout_levels": tuple(range(1, depth - _FULL_WIDENING_LEVEL)),
    }
    return UNetConfig.parse(values, where=str(path), error=WeightsError)


_REMEDY_UNET = "Only generators trained with --netG unet_256 or unet_128 (or another depth) can be imported"


def _norm(tensors: Mapping[str, Tensor], depth: int) -> Literal["batch", "instance"]:
    """Batch norms have tensors, instance norms none; and only under instance norm the convolutions have biases."""
    return "batch" if f"{_block(depth, depth).up_norm}.weight" in tensors else "instance"


def _fitting(value: Tensor, own: Tensor, name: str, path: Path) -> Tensor:
    if value.shape != own.shape:
        raise WeightsError(
            f"{path} is no U-Net of the reference code: {name} is {tuple(value.shape)}, and {tuple(own.shape)} would fit",
            remedy=_REMEDY_UNET,
        )
    if not bool(torch.isfinite(value).all()):
        raise WeightsError(f"{path}: {name} holds values that are not numbers; that training diverged", remedy=_OTHER_EPOCH)
    return value


_OTHER_EPOCH = "Import an earlier epoch, checkpoints/NAME/EPOCH_net_G.pth"
