"""Recipes: functions that return a full run configuration. Change one with `replace(facades(), ...)` or `--set`."""

from __future__ import annotations

from collections.abc import Callable

from p2p_core.errors import ConfigError
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig

__all__ = ["RECIPES", "facades", "maps", "recipe", "world"]


def facades() -> RunConfig:
    """Labels -> facade: 400 pairs, 200 epochs, batch 1, jitter and mirror (paper, section 6.2)."""
    return RunConfig(recipe="facades", augment=AugmentConfig(resize_px=286, crop_px=256), budget_images=400 * 200)


def maps() -> RunConfig:
    """Map <-> aerial photograph: 1096 pairs of 600 px, 200 epochs, batch 1 (paper, section 6.2)."""
    return RunConfig(recipe="maps", augment=AugmentConfig(crop_px=256), budget_images=1096 * 200)


def world() -> RunConfig:
    """Shaded relief map -> Blue Marble, small enough to train on two CPU cores in minutes."""
    return RunConfig(
        recipe="world",
        generator=UNetConfig(depth=5, base_width=32, dropout=0.0, upsampling="resize"),
        discriminator=PatchGANConfig(num_layers=2, base_width=32),
        optimiser=OptimiserConfig(learning_rate=4e-4, decay_from=0.5),
        augment=AugmentConfig(crop_px=128),
        batch_size=4,
        budget_images=6_000,
        validate_every_images=1_000,
        checkpoint_every_images=1_000,
        log_every_images=100,
        ema_images=500,
    )


RECIPES: dict[str, Callable[[], RunConfig]] = {"facades": facades, "maps": maps, "world": world}


def recipe(name: str) -> RunConfig:
    """The configuration of this recipe. Raises `ConfigError` for a name nobody knows."""
    if name not in RECIPES:
        raise ConfigError(f"Unknown recipe {name!r}", remedy=f"Use one of: {', '.join(RECIPES)}")
    return RECIPES[name]()
