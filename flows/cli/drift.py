"""`p2p drift` and `p2p use`: how far a dataset drifted, and which version of it is current."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, Settings, print_json

if TYPE_CHECKING:
    from preprocessing.drift import Measured, StoreDrift

__all__ = ["drift", "use"]


def drift(
    before: Annotated[
        Path, typer.Argument(metavar="STORE", help="A pair store, STORE@VERSION, or the directory of a version.")
    ],
    after: Annotated[
        Path | None, typer.Argument(metavar="STORE2", help="The later one. Without it: STORE now and the version before.")
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """How far a dataset drifted from one version to another: pairs, rejections, sources and grey levels. Exit 1 beyond a limit.

    `p2p build --check-drift` measures the same before it makes a new version current. Limits, to be changed with --set: pairs,
    rejected, sources_gone, mean_shift (in standard deviations), std_ratio, distribution (total variation, 0 to 1).

    \b
    Examples:
      p2p drift pairs
      p2p drift pairs@3f2a91 pairs --set mean_shift=0.5
      p2p drift old-pairs new-pairs --json
    """
    from p2p_core.config import with_settings
    from p2p_core.pairstore.diff import open_both
    from preprocessing.drift import DriftLimits, measure_drift

    found = measure_drift(*open_both(before, after), with_settings(DriftLimits(), settings or ()))
    if as_json:
        print_json({"beyond": bool(found.beyond), "before": found.before, "after": found.after, "measured": found.rows()})
    else:
        print("\n".join(_lines(found)))
    if found.beyond:
        raise typer.Exit(1)


def _lines(found: StoreDrift) -> Iterator[str]:
    yield f"from {found.before}"
    yield f"to   {found.after}"
    rows = [("measure", "of", "before", "after", "drift", "limit", ""), *(_cells(measured) for measured in found.measured)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield f"{len(found.beyond)} of {len(found.measured)} measures are beyond their limits"


def _cells(measured: Measured) -> tuple[str, ...]:
    values = ("" if value is None else f"{value:.4g}" for value in (measured.before, measured.after))
    beyond = "beyond" if measured.beyond else ""
    return (measured.measure, measured.of, *values, f"{measured.drift:.3g}", f"{measured.limit:g}", beyond)


def use(
    version: Annotated[Path, typer.Argument(metavar="STORE@VERSION", help="A version that the store has.")],
) -> None:
    """Make a version the current one of its store: accept what drifted, or go back to an earlier version.

    Every file of it is re-hashed first. The next build makes the version of its sources current again: to stay with an
    earlier one, stop the build's schedule or mend its sources.

    \b
    Example:
      p2p use pairs@3f2a91
    """
    from p2p_core.card.card import read_about, write_card
    from p2p_core.pairstore.use import use_version
    from p2p_core.pairstore.versions import named_version

    about = read_about(named_version(version).absolute().parent.parent)  # what the store is called, whatever its version
    used = use_version(version, describe=lambda store: write_card(store, about))
    print(f"{used.parents[1]}: version {used.name} is current")
