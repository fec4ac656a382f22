"""Whether a recipe's networks take and make what a store holds."""

from __future__ import annotations

from pathlib import Path

from p2p_core.encodings import Encoding
from p2p_core.errors import ConfigError
from p2p_core.training.config import RunConfig

__all__ = ["require_widths"]


def require_widths(config: RunConfig, source: Encoding, target: Encoding, data: Path) -> None:
    """Raises `ConfigError` unless the networks are as wide as the encodings of the store at `data`."""
    fitting = {
        "generator.input_bands": (config.generator.input_bands, source.channels),
        "generator.output_bands": (config.generator.output_bands, target.channels),
    }
    if config.is_adversarial:
        fitting["discriminator.target_bands"] = (config.discriminator.target_bands, target.channels)
    if config.is_adversarial and config.discriminator.conditional:
        fitting["discriminator.input_bands"] = (config.discriminator.input_bands, source.channels)
    wrong = {name: needed for name, (has, needed) in fitting.items() if has != needed}
    if wrong:
        has = ", ".join(f"{name} {fitting[name][0]}" for name in wrong)
        raise ConfigError(
            f"The store {data} pairs {source.name} with {target.name}, which networks see as {source.channels} and "
            f"{target.channels} channels; recipe {config.recipe} has {has}",
            remedy=f"Choose a recipe for this kind of pair, or {' '.join(f'--set {k}={v}' for k, v in wrong.items())}",
        )
