"""What `p2p build` means: builder parameters from `--set`, and which split fits the sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from flows.stages.build import builder_kind
from p2p_core.card.about import About
from p2p_core.config import with_settings
from p2p_core.errors import UsageError
from p2p_core.pairstore.layout import SPLITS
from p2p_core.rasters.grid import Bounds
from preprocessing.builders import BUILDERS
from preprocessing.drift import DriftLimits
from preprocessing.maps import MapsParameters
from preprocessing.plain_tiles import PlainTilesBuilder
from preprocessing.split import Fractions

__all__ = ["about_dataset", "builder_parameters", "drift_limits", "fitting_split", "parse_bounds", "parse_fractions"]


_DRIFT = "drift."


def builder_parameters(builder: str, num_sources: int, settings: Sequence[str]) -> dict[str, Any]:
    """The builder's defaults with `settings` over them, but for those of drift; one folder means side-by-side pictures.

    Raises:
        ConfigError: a setting the builder does not know, or a value it cannot have.
    """
    known = {"layout": "two" if num_sources == 2 else "side_by_side"} if builder == "folders" else {}
    defaults = builder_kind(builder).parameters.parse(known, where=f"Builder {builder}")
    own = [setting for setting in settings if not setting.startswith(_DRIFT)]
    return with_settings(defaults, own).model_dump(mode="json")


def drift_limits(check: bool, settings: Sequence[str]) -> DriftLimits | None:
    """The limits that `--set drift.NAME=VALUE` changes; None where drift is not to be checked.

    Raises:
        ConfigError: no such limit, or no value of one.
    """
    own = [setting.removeprefix(_DRIFT) for setting in settings if setting.startswith(_DRIFT)]
    return with_settings(DriftLimits(), own) if check or own else None


def fitting_split(
    builder: str, sources: Sequence[Path], group_by: str | None = None
) -> Literal["block", "directory", "name", "source"]:
    """By geographic block for rasters; as the folders lie where they are called train, val and test; frames by clip.

    Tiles of plain pictures have no place, and stay together. Whoever groups names does not mean directories.
    """
    plain = builder == "maps" and isinstance(BUILDERS[builder].make(tuple(sources), MapsParameters()), PlainTilesBuilder)
    if builder == "maps" and not plain:
        return "block"
    if group_by in (None, "none") and any((sources[0] / split).is_dir() for split in SPLITS):
        return "directory"
    return "source" if builder == "frames" or plain else "name"


def parse_bounds(text: str) -> Bounds:
    """`-10,35,5,44` -> west, south, east, north. Raises `UsageError` for anything else."""
    try:
        west, south, east, north = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is no W,S,E,N", remedy="Write four numbers, for example --reserve=-10,35,5,44") from None
    bounds = Bounds(west, south, east, north)
    if not (all(map(math.isfinite, bounds)) and west < east and south < north):
        raise UsageError(
            f"{text!r} is no ground: west must be below east, and south below north",
            remedy="Write W,S,E,N; give ground across the antimeridian as two",
        )
    return bounds


def parse_fractions(text: str) -> Fractions:
    """`0.8,0.1,0.1` -> the shares of train, val and test. Raises `UsageError` for anything else."""
    try:
        train, val, test = (float(part) for part in text.split(","))
        return Fractions(train=train, val=val, test=test)
    except ValueError:  # pydantic's errors are such, too
        raise UsageError(
            f"{text!r} are no shares of train, val and test",
            remedy="Write three numbers that add up to 1, for example --fractions 0.8,0.1,0.1",
        ) from None


def about_dataset(settings: Sequence[str]) -> About:
    """`licence=CC-BY-4.0`, `title=...` -> what the card says. Values are taken as text.

    Raises:
        UsageError: a setting without `=`.
        ConfigError: a key a card does not know, or no date.
    """
    values: dict[str, str] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise UsageError(f"{setting!r} has no '='", remedy="Write it as key=value, for example --about licence=CC-BY-4.0")
        values[key.strip()] = text.strip()
    return About.parse(values, where=f"--about {' '.join(settings)}")
