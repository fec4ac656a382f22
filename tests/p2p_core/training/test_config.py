"""Run configurations that follow a store."""

from __future__ import annotations

import pytest

from p2p_core.errors import ConfigError
from p2p_core.recipes import facades, world


def test_networks_are_as_wide_as_the_pairs_and_all_else_stays() -> None:
    config = facades().for_channels(1, 2)
    assert (config.generator.input_bands, config.generator.output_bands) == (1, 2)
    assert (config.discriminator.input_bands, config.discriminator.target_bands) == (1, 2)
    assert config.for_channels(3, 3) == facades()


def test_a_recipe_made_for_three_bands_refuses_one() -> None:
    with pytest.raises(ConfigError, match="input_mean"):
        world().for_channels(1, 3)
