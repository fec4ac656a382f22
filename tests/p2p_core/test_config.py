"""`--set key=value`."""

from __future__ import annotations

import pytest

from p2p_core.config import Config, with_settings
from p2p_core.errors import ConfigError


class Sizes(Config):
    rate: float = 1.0
    sizes: tuple[int, ...] = ()


def test_values_are_yaml() -> None:
    assert with_settings(Sizes(), ["rate=2e-4", "sizes=[1, 2]"]) == Sizes(rate=2e-4, sizes=(1, 2))


@pytest.mark.parametrize("setting", ["sizes=[", "sizes={1", "sizes='", "rate=*", "rate=!", "rate=\t"])
def test_a_value_that_is_no_yaml_or_of_no_use_is_one_message(setting: str) -> None:
    with pytest.raises(ConfigError, match=r"rate|sizes"):
        with_settings(Sizes(), [setting])
