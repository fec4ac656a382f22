"""docs/parameters.md names every parameter of every builder, with its default and its choices, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic_core import PydanticUndefined

from p2p_core.config import Config
from preprocessing.builders import BUILDERS
from preprocessing.drift import DriftLimits

PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"
Row = tuple[str, str]
"""(default, meaning)"""


def tables() -> dict[str, dict[str, Row]]:
    """Heading -> key -> its row."""
    sections: dict[str, dict[str, Row]] = {}
    for part in PAGE.read_text().split("\n## ")[1:]:
        heading, _, text = part.partition("\n")
        sections[heading] = {
            key: (default.strip("`"), meaning)
            for keys, default, meaning in re.findall(r"^\| (`.+?`) \| (.+?) \| (.+) \|$", text, re.MULTILINE)
            for key in re.findall(r"`(.+?)`", keys)
        }
    return sections


def fields(kind: type[Config], group: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """(key, default, choices) of every value that `--set` reaches."""
    for name, field in kind.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if isinstance(default, Config):
            yield from fields(type(default), f"{group}{name}.")
        else:
            choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
            yield f"{group}{name}", spelt(default), [str(choice) for choice in choices]


def spelt(default: Any) -> str:
    """As it is written after `--set KEY=`."""
    if default is PydanticUndefined:
        return "by sources"
    if isinstance(default, float):
        return f"{default:g}"
    return default if isinstance(default, str) and default else json.dumps(default, separators=(",", ":"))


def documented(builder: str) -> dict[str, Row]:
    """What the page says of a builder: its own table over those that it shares."""
    page = tables()
    shared = page["Every builder"] | ({} if builder == "maps" else page["Builders of whole pictures"])
    return shared | page[builder]


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_page_has_every_parameter_of_a_builder_with_its_default_and_choices(builder: str) -> None:
    known = list(fields(BUILDERS[builder].parameters))
    page = documented(builder)
    assert {key: default for key, (default, _) in page.items()} == {key: default for key, default, _ in known}
    if builder != "palette":  # there is one way to fit, which the page says in words
        unsaid = [(key, choice) for key, _, choices in known for choice in choices if f"`{choice}`" not in page[key][1]]
        assert unsaid == []


def test_the_page_has_every_limit_of_drift() -> None:
    assert {key: default for key, (default, _) in tables()["Drift"].items()} == {
        key: default for key, default, _ in fields(DriftLimits, "drift.")
    }
