"""`p2p diff`: what changed between two versions of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.options import AsJson, print_json

if TYPE_CHECKING:
    from p2p_core.pairstore.diff import ComparedVersion, StoreDiff

__all__ = ["diff"]


def diff(
    before: Annotated[
        Path, typer.Argument(metavar="STORE", help="A pair store, STORE@VERSION, or the directory of a version.")
    ],
    after: Annotated[
        Path | None, typer.Argument(metavar="STORE2", help="The later one. Without it: STORE now and the version before.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, help="So many lines of a kind at most; --json has all.")] = 10,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 if anything changed, as git diff does.")] = False,
    as_json: AsJson = False,
) -> None:
    """What changed between two versions of a dataset: pairs, splits, rejections and settings.

    Tables and digests are compared, no picture is decoded. A VERSION is a dataset's digest or the beginning of it. Exit 0
    whether or not something changed, unless --exit-code asks for 1; a store that cannot be read is 1 too, with an error.

    \b
    Examples:
      p2p diff pairs
      p2p diff pairs@3f2a91 pairs
      p2p diff old-pairs new-pairs --exit-code --limit 50
    """
    from p2p_core.pairstore.diff import diff_stores

    found = diff_stores(before, after)
    if as_json:
        print_json({"same": found.is_empty, **found.model_dump(mode="json")})
    else:
        print("\n".join(_lines(found, limit)))
    if exit_code and not found.is_empty:
        raise typer.Exit(1)


def _lines(found: StoreDiff, limit: int) -> Iterator[str]:
    yield f"from {_side(found.before)}"
    yield f"to   {_side(found.after)}"
    if found.is_empty:
        files = "" if found.before.digest == found.after.digest else "; only the files they were made from differ"
        yield f"the same pairs, splits, rejections and settings{files}"
        return
    kinds = _kinds(found)
    yield ", ".join([*(f"{len(lines)} {kind}" for kind, lines in kinds.items()), f"{found.num_unchanged} pairs unchanged"])
    for kind, lines in kinds.items():
        yield from (f"{kind}: {line}" for line in lines[:limit])
        if limit and len(lines) > limit:
            yield f"{kind}: and {len(lines) - limit} more"


def _side(version: ComparedVersion) -> str:
    counts = ", ".join(f"{count} {split}" for split, count in version.counts.items())
    return f"{version.path}: {counts} pairs, dataset {version.digest[:16]}"


def _kinds(found: StoreDiff) -> dict[str, Sequence[str]]:
    moves = {"moved": found.moved, "renamed": found.renamed}
    return {
        f"setting{'' if len(found.settings) == 1 else 's'} changed": [
            f"{setting.name}: {setting.before} -> {setting.after}" for setting in found.settings
        ],
        **{
            kind: [f"{pair.was_id} ({pair.was_split}) -> {pair.pair_id} ({pair.split})" for pair in pairs]
            for kind, pairs in moves.items()
        },
        "added": [f"{pair.pair_id} ({pair.split})" for pair in found.added],
        "removed": [f"{pair.pair_id} ({pair.split})" for pair in found.removed],
        "changed": [f"{pair.pair_id} ({pair.split}): {', '.join(pair.parts)}" for pair in found.changed],
        "rejected now": [f"{item.item} as {item.reason}: {item.detail}" for item in found.rejected],
        "no longer rejected": [f"{item.item} as {item.reason}: {item.detail}" for item in found.no_longer_rejected],
    }
