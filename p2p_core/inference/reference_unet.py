"""The reference's U-Net generators, tensor by tensor.

The reference nests its U-Net. Each block holds the next smaller one in its middle and joins that block's output behind its own
input. So the outermost block's tensors are `model.model.0` and `model.model.3`, those of the next `model.model.1.model.1` and
so on, and inwards `model.model.1.model.3.model.1`. Three things differ from our U-Net, and none of them changes the function:
- the skip comes first in the concatenation, ours comes last: the halves of an up convolution's input channels change places;
- LeakyReLU works in place, so the skip is the activated feature; the ReLU that follows makes the same of both;
- dropout follows the norm in the blocks of full width, but not in the innermost: `UNetConfig.dropout_levels`. It has no
  tensors, so a file does not tell whether there was any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from p2p_core.errors import WeightsError
from p2p_core.inference.reference_layout import Layout, refusal
from p2p_core.model.generator import UNetConfig

__all__ = ["unet_layout"]

_MAX_DEPTH = 10
_FULL_WIDENING_LEVEL = 4
"""From here on all levels have 8 times the base width; the reference drops out on the decoder levels that stay within them."""


def unet_layout(tensors: Mapping[str, Tensor], dropout: float, path: Path) -> Layout:
    """The U-Net that these tensors' names and shapes speak of. Raises `WeightsError` for none."""
    depth = sum(f"{_block(level, 0).down}.weight" in tensors for level in range(1, _MAX_DEPTH + 1))
    ends = [tensors.get(f"{place}.weight") for place in (_block(1, depth).down, _block(1, depth).up)]
    if depth < 2 or any(end is None or end.ndim != 4 for end in ends):
        raise refusal(path, "is neither a U-Net nor a ResNet generator of the reference code", tensors)
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
    config = UNetConfig.parse(values, where=str(path), error=WeightsError)
    joined = frozenset(f"decoder.{index}.1.weight" for index in range(1, depth))
    return Layout(f"U-Net of depth {depth}", config, dict(_places(depth)), joined)


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


def _places(depth: int) -> Iterator[tuple[str, str]]:
    """(our module, the reference's) of every convolution and norm."""
    for level in range(1, depth + 1):
        block, ours, theirs = _block(level, depth), level - 1, depth - level
        yield f"encoder.{ours}.{0 if level == 1 else 1}", block.down
        yield f"decoder.{theirs}.1", block.up
        if block.down_norm:
            yield f"encoder.{ours}.2", block.down_norm
        if block.up_norm:
            yield f"decoder.{theirs}.2", block.up_norm


def _norm(tensors: Mapping[str, Tensor], depth: int) -> Literal["batch", "instance"]:
    """Batch norms have tensors, instance norms none; and only under instance norm the convolutions have biases."""
    return "batch" if f"{_block(depth, depth).up_norm}.weight" in tensors else "instance"
