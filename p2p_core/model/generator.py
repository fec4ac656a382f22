"""The generators a run can choose from, by their configurations.

A configuration states what exact tiling needs of its network: `lattice_px`, `halo_px` and `smallest_px`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from p2p_core.model.resnet import ResNet, ResNetConfig
from p2p_core.model.unet import UNet, UNetConfig

__all__ = ["Generator", "GeneratorConfig", "ResNet", "ResNetConfig", "UNet", "UNetConfig", "make_generator"]

Generator = UNet | ResNet


def _kind(value: Any) -> Any:
    """Configurations from before there were kinds are U-Nets."""
    return value.get("kind", "unet") if isinstance(value, Mapping) else getattr(value, "kind", None)


GeneratorConfig = Annotated[
    Annotated[UNetConfig, Tag("unet")] | Annotated[ResNetConfig, Tag("resnet")],
    Discriminator(_kind, custom_error_type="generator_kind", custom_error_message="the kinds are unet and resnet"),
]


def make_generator(config: UNetConfig | ResNetConfig) -> Generator:
    """A generator at its start. `torch.manual_seed` decides its weights."""
    return UNet(config) if isinstance(config, UNetConfig) else ResNet(config)
