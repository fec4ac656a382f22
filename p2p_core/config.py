"""Frozen configuration: validated when made, a misspelt key is an error, written as JSON and read back unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from p2p_core.errors import ConfigError

__all__ = ["Config", "replace", "with_settings"]


class Config(BaseModel):
    """Base of every configuration. Frozen; unknown keys, wrong types and values out of range raise `ConfigError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str) -> Self:
        """Validate plain values (from JSON, say). `where` names their place in the message."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            details = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in error.errors())
            known = ", ".join(cls.model_fields)
            raise ConfigError(f"{where} is not a valid {cls.__name__}: {details}", remedy=f"Known keys are: {known}") from None


C = TypeVar("C", bound=Config)


def replace(config: C, **changes: Any) -> C:
    """A copy with `changes`, validated again (unlike pydantic's `model_copy`)."""
    return type(config).parse({**dict(config), **changes}, where=type(config).__name__)


def with_settings(config: C, settings: Sequence[str]) -> C:
    """Apply `--set key=value` strings; dots reach nested configs: `optimiser.learning_rate=1e-4`. Values are YAML.

    Raises:
        ConfigError: a setting without `=`, an unknown key, or a value of the wrong type.
    """
    values = config.model_dump()
    for setting in settings:
        path, separator, text = setting.partition("=")
        if not separator:
            raise ConfigError(f"Setting {setting!r} has no '='", remedy="Write it as key=value, for example --set seed=7")
        _assign(values, path.strip().split("."), _scalar(text, setting), setting)
    return type(config).parse(values, where=f"--set {' '.join(settings)}")


def _scalar(text: str, setting: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise ConfigError(
            f"The value of setting {setting!r} is no YAML: {problem}", remedy="Close its brackets, or put it in quotes"
        ) from error
    if isinstance(value, str):
        try:  # YAML 1.1 reads 2e-4 (no dot) as a string
            return float(value)
        except ValueError:
            return value
    return value


def _assign(values: dict[str, Any], path: list[str], value: Any, setting: str) -> None:
    *parents, leaf = path
    place = values
    for key in parents:
        inner = place.get(key)
        if not isinstance(inner, dict):
            raise ConfigError(f"Setting {setting!r} names no group {key!r}", remedy=f"Known keys are: {', '.join(place)}")
        place = inner
    if leaf not in place:
        raise ConfigError(f"Setting {setting!r} names an unknown key {leaf!r}", remedy=f"Known keys are: {', '.join(place)}")
    place[leaf] = value
