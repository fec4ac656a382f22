"""Which sources belong together, told by their names: frames of one clip that lie flat in one directory."""

from __future__ import annotations

import re

from p2p_core.errors import ConfigError

__all__ = ["group_of", "numbered_name", "require_grouping"]

_STRETCHES = re.compile(r"prefix:([1-9][0-9]*)")
_LAST_NUMBER = re.compile(r"([0-9]+)[^0-9/]*$")


def require_grouping(by: str) -> None:
    """Raises `ConfigError` unless `group_of` knows it."""
    if by in ("directory", "prefix") or _STRETCHES.fullmatch(by):
        return
    try:
        num_groups = re.compile(by).groups
    except re.error as error:
        raise ConfigError(f"{by!r} is no regular expression: {error}", remedy=_REMEDY) from error
    if num_groups != 1:
        raise ConfigError(f"{by!r} tells no groups: it has {num_groups} parts in parentheses, not one", remedy=_REMEDY)


_REMEDY = (
    "Group by prefix, by prefix:100 (stretches of 100 numbers), by directory, or by a regular expression whose part in"
    " parentheses is the group, as '^(.*)_cam'"
)


def group_of(name: str, by: str) -> str | None:
    """The group of a source of this name; None where a regular expression does not match it.

    Args:
        by: `directory`, the one it lies in. `prefix`, what stands before the last number of its name, with the directory:
            `0001TP_` of `0001TP_006690`; a name without a number is a group of its own. `prefix:100`, that and the number in
            hundreds. Anything else is a regular expression, searched in the name: what its parentheses match.
    """
    if by == "directory":
        return name.rpartition("/")[0]
    stretch = _STRETCHES.fullmatch(by)
    if by == "prefix" or stretch:
        found = numbered_name(name)
        if found is None:
            return name
        prefix, number = found
        return f"{prefix}:{number // int(stretch[1])}" if stretch else prefix
    match = re.search(by, name)
    return match[1] if match else None


def numbered_name(name: str) -> tuple[str, int] | None:
    """What stands before a name's last number, with the directory, and that number: (`Seq05VD_f`, 30) of `Seq05VD_f00030`."""
    match = _LAST_NUMBER.search(name)
    return (name[: match.start()], int(match[1])) if match else None
