"""Tell what a directory holds and re-hash it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from p2p_core.errors import EmptySourceError
from p2p_core.files import Problem

__all__ = ["Kind", "kind_of", "verify_any"]

Kind = Literal["pair store", "picture export", "model bundle", "archive output"]


def kind_of(path: Path) -> Kind:
    """By the files that only this kind has, whole or not. Raises `EmptySourceError` where there are none."""
    for kind, names in _MARKS.items():
        if any((path / name).exists() for name in names):
            return kind
    there = (
        "holds neither a pair store, nor pictures of one, nor a model bundle, nor an archive output"
        if path.exists()
        else "does not exist"
    )
    raise EmptySourceError(
        f"{path} {there}", remedy="Give what `p2p build`, `p2p train` (its RUN/bundle) or `p2p translate` made"
    )


_MARKS: dict[Kind, tuple[str, ...]] = {
    "pair store": ("current", "versions", "building", "manifest.json"),
    "picture export": (".p2p-export.json", ".p2p-export.sha256"),
    "archive output": ("job.json", "image.zarr"),
    "model bundle": ("checksums.json", "model.json"),
}


def verify_any(path: Path) -> tuple[Kind, list[Problem]]:
    """Every bad file. Raises what the verification of that kind raises."""
    kind = kind_of(path)
    return kind, _VERIFY[kind](path)


def _verify_store(path: Path) -> list[Problem]:
    from p2p_core.card.card import card_problems
    from p2p_core.pairstore.verify import verify_store

    return [*verify_store(path), *card_problems(path)]


def _verify_export(path: Path) -> list[Problem]:
    from p2p_core.pairstore.checksums import verify_export

    return verify_export(path)


def _verify_bundle(path: Path) -> list[Problem]:
    from p2p_core.inference.bundle import verify_bundle

    return verify_bundle(path)


def _verify_output(path: Path) -> list[Problem]:
    from p2p_core.archive.verify import verify_output

    return verify_output(path)


_VERIFY: dict[Kind, Callable[[Path], list[Problem]]] = {
    "pair store": _verify_store,
    "picture export": _verify_export,
    "model bundle": _verify_bundle,
    "archive output": _verify_output,
}
