"""Generators saved by the reference PyTorch code (junyanz/pytorch-CycleGAN-and-pix2pix): `latest_net_G.pth`.

`reference_unet` and `reference_resnet` say which of its tensors is which of ours.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from p2p_core.errors import WeightsError
from p2p_core.inference.reference_layout import Layout, refusal
from p2p_core.inference.reference_resnet import is_resnet, resnet_layout
from p2p_core.inference.reference_unet import unet_layout
from p2p_core.model.generator import Generator, make_generator

__all__ = ["load_reference_generator"]

_REMEDY = "Give the generator as the reference's training saves it: checkpoints/NAME/latest_net_G.pth"
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def load_reference_generator(path: Path, *, dropout: float = 0.5) -> Generator:
    """The generator in `path`, in `eval()`: the same function of the same input, up to rounding.

    Depth or number of blocks, width, bands and norm are read off the tensors. Nothing is unpickled but plain tensors.

    Args:
        dropout: what a U-Net was trained with; 0 for the reference's `--no_dropout`. Our ResNets have none.

    Raises:
        WeightsError: the file is missing, damaged, holds anything but tensors, or another network than a U-Net or ResNet
            generator of the reference.
    """
    tensors = _read(path)
    layout = _layout(tensors, dropout, path)
    generator = make_generator(layout.config)
    state: dict[str, Tensor] = {}
    for name, own in generator.state_dict().items():
        module, _, kind = name.rpartition(".")
        theirs = f"{layout.places[module]}.{kind}"
        if kind == "num_batches_tracked":  # PyTorch before 0.4.1 saved none
            state[name] = tensors.pop(theirs, own)
        elif theirs not in tensors:
            raise WeightsError(f"{path} lacks {theirs}, which a {layout.name} has", remedy=_REMEDY)
        else:
            state[name] = _fitting(tensors.pop(theirs), own, theirs, layout, path)
    if layout.config.instance_norm:  # PyTorch before 0.4 saved statistics that it never used
        tensors = {name: value for name, value in tensors.items() if name.rpartition(".")[2] not in _STATISTICS}
    if tensors:
        raise WeightsError(f"{path} holds {min(tensors)}, which a {layout.name} has not", remedy=_REMEDY)
    for name in layout.swapped:
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


def _layout(tensors: Mapping[str, Tensor], dropout: float, path: Path) -> Layout:
    if is_resnet(tensors):
        return resnet_layout(tensors, path)
    if tensors.keys() & {"model.0.weight", "net.0.weight"}:  # generators begin with a mirrored edge, or have `model.model`
        raise refusal(path, "holds a discriminator, not a generator", tensors)
    return unet_layout(tensors, dropout, path)


def _fitting(value: Tensor, own: Tensor, name: str, layout: Layout, path: Path) -> Tensor:
    if value.shape != own.shape:
        raise refusal(
            path,
            f"is no {layout.name} of the reference code: {name} is {tuple(value.shape)}, and {tuple(own.shape)} would fit",
        )
    if not bool(torch.isfinite(value).all()):
        raise WeightsError(f"{path}: {name} holds values that are not numbers; that training diverged", remedy=_OTHER_EPOCH)
    return value


_OTHER_EPOCH = "Import an earlier epoch, checkpoints/NAME/EPOCH_net_G.pth"
