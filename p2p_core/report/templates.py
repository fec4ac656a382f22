"""The pages' templates, with their style and script in them."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from p2p_core.report.records import NotMade
from p2p_core.report.tables import duration, facts

__all__ = ["template"]


@cache
def template(name: str) -> Template:
    """A template of this room; whatever is put into it is escaped."""
    loader = PackageLoader("p2p_core.report", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.tests["not_made"] = lambda part: isinstance(part, NotMade)
    environment.filters.update(facts=facts, duration=duration)
    style, script = (loader.get_source(environment, part)[0] for part in ("report.css", "report.js"))
    environment.globals.update(style=style, script=script)
    return environment.get_template(name)
