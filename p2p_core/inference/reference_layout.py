"""What the layouts of the reference's generators have in common: which of its tensors is which of ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from p2p_core.errors import WeightsError
from p2p_core.model.generator import ResNetConfig, UNetConfig

__all__ = ["Layout", "refusal"]

_REMEDY = (
    "Only generators trained with --netG unet_256, unet_128, resnet_9blocks or resnet_6blocks (or another depth or number of "
    "blocks) can be imported"
)


@dataclass(frozen=True)
class Layout:
    """Attributes:
    name: of the architecture, for messages.
    config: the same function's in our code.
    places: our module -> the reference's, of every convolution and norm.
    swapped: our weights of which the two halves of the first axis change places.
    """

    name: str
    config: UNetConfig | ResNetConfig
    places: Mapping[str, str]
    swapped: frozenset[str] = frozenset()


def refusal(path: Path, problem: str, tensors: Mapping[str, Tensor] | None = None) -> WeightsError:
    """`problem` is the rest of a sentence about `path`; of `tensors` the first is named."""
    first = f"; its first tensor is {min(tensors)}" if tensors else ""
    return WeightsError(f"{path} {problem}{first}", remedy=_REMEDY)
