"""Frozen configuration: validated when made, a misspelt key is an error, written as JSON and read back unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from p2p_core.errors import ConfigError, P2PError

__all__ = ["Config", "replace", "with_settings"]


class Config(BaseModel):
    """Base of every configuration. Frozen; unknown keys, wrong types and values out of range raise `ConfigError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def parse(cls, values: Mapping[str, Any], *, where: str, error: type[P2PError] = ConfigError) -> Self:
        """Validate plain values (from JSON, say). `where` names their place in the message.

        Raises:
            `error`: a user's values are wrong usage, a `ConfigError`; a file that a program wrote is bad data instead.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as invalid:
            details = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'value'}: {e['msg']}" for e in invalid.errors())
            known = ", ".join(cls.model_fields)
            raise error(f"{where} is not a valid {cls.__name__}: {details}", remedy=f"Known keys are: {known}") from None


C = TypeVar("C", bound=Config)


def replace(config: C, **changes: Any) -> C:
    """A copy with `changes`, validated again (unlike pydantic's `model_copy`)."""
    return type(config).parse({**dict(config), **changes}, where=type(config).__name__)


def with_settings(config: C, settings: Sequence[str]) -> C:
    """Apply `--set key=value` strings; dots reach nested configs: `optimiser.learning_rate=1e-4`. Values are YAML.

    A group of several kinds takes another by `generator.kind=resnet`, before all other settings; what both kinds have stays.

    Raises:
        ConfigError: a setting without `=`, an unknown key or kind, or a value of the wrong type.
    """
    values = config.model_dump()
    assignments = [_assignment(setting) for setting in settings]
    for path, value, setting in assignments:
        if len(path) == 2 and path[1] == "kind":
            _take_kind(config, values, path[0], value, setting)
    for path, value, setting in assignments:
        _assign(values, path, value, setting)
    return type(config).parse(values, where=f"--set {' '.join(settings)}")


def _assignment(setting: str) -> tuple[list[str], Any, str]:
    path, separator, text = setting.partition("=")
    if not separator:
        raise ConfigError(f"Setting {setting!r} has no '='", remedy="Write it as key=value, for example --set seed=7")
    return path.strip().split("."), _scalar(text, setting), setting


def _take_kind(config: Config, values: dict[str, Any], group: str, kind: Any, setting: str) -> None:
    kinds = _kinds_of(config, group)
    if not kinds:
        return  # no choice here: an ordinary assignment says what is wrong
    if kind not in kinds:
        raise ConfigError(f"Setting {setting!r} names an unknown kind", remedy=f"Use one of: {', '.join(kinds)}")
    known = kinds[kind].model_fields
    kept = {name: value for name, value in values[group].items() if name in known and name != "kind"}
    values[group] = kinds[kind].parse(kept, where=setting).model_dump()


def _kinds_of(config: Config, group: str) -> dict[str, type[Config]]:
    """The configs that a field annotated `Annotated[A, Tag(...)] | Annotated[B, Tag(...)]` may hold, by their kinds."""
    field = type(config).model_fields.get(group)
    members = [next(iter(get_args(member)), None) for member in get_args(field.annotation)] if field else []
    configs = [member for member in members if isinstance(member, type) and issubclass(member, Config)]
    return {member.model_fields["kind"].default: member for member in configs}


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
