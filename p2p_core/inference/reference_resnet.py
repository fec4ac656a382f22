"""The reference's ResNet generators, tensor by tensor.

Its layers stand in one sequence, mirroring of edges included, which counts but has no tensors:
- `model.0` to `model.9`: mirror, k7, norm, ReLU; k3 s2, norm, ReLU; the same again;
- `model.10` and on: one residual block each. Its `conv_block` is mirror, k3, norm, ReLU, [dropout], mirror, k3, norm;
- then k3 s2 transposed, norm, ReLU, twice; mirror, k7, tanh.
Our ResNet mirrors within its convolutions and has no dropout, so its places are fewer. Dropout shifts the second convolution of
a block from `conv_block.5` to `conv_block.6`, so both kinds are told apart. It does nothing under the reference's `--eval`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor

from p2p_core.errors import WeightsError
from p2p_core.inference.reference_layout import Layout, refusal
from p2p_core.model.generator import ResNetConfig

__all__ = ["is_resnet", "resnet_layout"]

_FIRST_BLOCK = 10
_OUR_FIRST_BLOCK = 9
_IN_BLOCK = re.compile(r"model\.(\d+)\.conv_block\.")


def is_resnet(tensors: Mapping[str, Tensor]) -> bool:
    return any(_IN_BLOCK.match(name) for name in tensors)


def resnet_layout(tensors: Mapping[str, Tensor], path: Path) -> Layout:
    """The ResNet that these tensors' names and shapes speak of. Raises `WeightsError` for one that is not the reference's."""
    blocks = sorted({int(match[1]) for name in tensors if (match := _IN_BLOCK.match(name))})
    num_blocks, after = len(blocks), _FIRST_BLOCK + len(blocks)
    if blocks != list(range(_FIRST_BLOCK, after)):
        places = f"model.{blocks[0]} to model.{blocks[-1]}"
        raise refusal(path, f"is another ResNet than the reference's: {num_blocks} blocks at {places}, not from 10 on")
    block = f"model.{_FIRST_BLOCK}.conv_block"
    if f"{block}.0.weight" in tensors:
        raise refusal(path, "is a ResNet whose blocks pad with zeros; the reference's mirror")
    _check_upsampling(tensors, after, path)
    first, last = _convolution(tensors, "model.1"), _convolution(tensors, f"model.{after + 7}")
    if first is None or last is None:
        raise refusal(path, f"is another ResNet than the reference's: model.1 or model.{after + 7} is no convolution")
    has_batch_norm = "model.2.weight" in tensors
    if not has_batch_norm and "model.1.bias" not in tensors:
        raise refusal(path, "was trained with --norm none; batch and instance norm are known here")
    values = {
        "input_bands": first.shape[1],
        "output_bands": last.shape[0],
        "num_blocks": num_blocks,
        "base_width": first.shape[0],
        "instance_norm": not has_batch_norm,
    }
    config = ResNetConfig.parse(values, where=str(path), error=WeightsError)
    second = 6 if _convolution(tensors, f"{block}.6") is not None else 5
    return Layout(f"ResNet-{num_blocks}", config, dict(_places(num_blocks, second)))


def _places(num_blocks: int, second: int) -> Iterator[tuple[str, str]]:
    """(our module, the reference's) of every convolution and of the norm behind it; instance norms have no tensors.

    `second` is the place of a block's second convolution.
    """
    ours_after, after = _OUR_FIRST_BLOCK + num_blocks, _FIRST_BLOCK + num_blocks
    convolutions = [("layers", start, "model", start + 1) for start in (0, 3, 6)]
    for index in range(num_blocks):
        ours, theirs = f"layers.{_OUR_FIRST_BLOCK + index}.layers", f"model.{_FIRST_BLOCK + index}.conv_block"
        convolutions += [(ours, 0, theirs, 1), (ours, 3, theirs, second)]
    convolutions += [("layers", ours_after + start, "model", after + start) for start in (0, 3)]
    for ours, our_place, theirs, their_place in convolutions:
        yield f"{ours}.{our_place}", f"{theirs}.{their_place}"
        yield f"{ours}.{our_place + 1}", f"{theirs}.{their_place + 1}"
    yield f"layers.{ours_after + 6}", f"model.{after + 7}"


def _check_upsampling(tensors: Mapping[str, Tensor], after: int, path: Path) -> None:
    """A transposed k3 convolution that halves the channels has weights of (2 n, n, 3, 3); no ordinary one here has."""
    for place in (f"model.{after}", f"model.{after + 3}"):
        weight = _convolution(tensors, place)
        if weight is None or weight.shape[0] != 2 * weight.shape[1] or weight.shape[2:] != (3, 3):
            raise refusal(
                path, f"is a ResNet of unknown upsampling: {place} is no transposed k3 convolution that halves the channels"
            )


def _convolution(tensors: Mapping[str, Tensor], place: str) -> Tensor | None:
    weight = tensors.get(f"{place}.weight")
    return weight if weight is not None and weight.ndim == 4 else None
