"""Find pictures in directories and tell which input belongs to which target, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from p2p_core.errors import EmptySourceError, PairingError
from p2p_core.rasters.registry import FILE_FORMATS

__all__ = ["Pictures", "find_pictures", "match_pictures", "visible_files"]


@dataclass(frozen=True)
class Pictures:
    """`by_name`: relative path without suffix -> file. `others`: files that are no picture by their suffix."""

    directory: Path
    by_name: Mapping[str, Path]
    others: tuple[Path, ...]


def visible_files(directory: Path) -> Iterator[Path]:
    """Every file under a directory, in order of paths. Hidden files and what hidden directories hold are passed over."""
    for path in sorted(directory.rglob("*")):
        if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(directory).parts):
            yield path


def find_pictures(directory: Path) -> Pictures:
    """Every picture under a directory, in order of names. Hidden files and directories are passed over.

    Raises:
        EmptySourceError: the directory is missing or holds no picture.
        PairingError: two pictures have one name but for the suffix.
    """
    if not directory.is_dir():
        raise EmptySourceError(f"{directory} is not a directory", remedy="Give the directory that holds the pictures")
    by_name: dict[str, Path] = {}
    others = []
    for path in visible_files(directory):
        if path.suffix.lower() not in FILE_FORMATS:
            others.append(path)
            continue
        name = path.relative_to(directory).with_suffix("").as_posix()
        if name in by_name:
            raise PairingError(f"{by_name[name]} and {path} have one name", remedy="Rename or remove one of them")
        by_name[name] = path
    if not by_name:
        raise EmptySourceError(
            f"{directory} holds no picture", remedy=f"Put pictures there, of a kind among {', '.join(FILE_FORMATS)}"
        )
    return Pictures(directory, by_name, tuple(others))


def match_pictures(inputs: Pictures, targets: Pictures, *, what: str = "pictures") -> dict[str, tuple[Path, Path]]:
    """Name -> (input, target). `what` messages call them.

    Raises:
        PairingError: one has no counterpart. Names it, the nearest name there is, and how many more there are.
    """
    for here, there in ((inputs, targets), (targets, inputs)):
        alone = sorted(here.by_name.keys() - there.by_name.keys())
        if alone:
            free = there.by_name.keys() - here.by_name.keys() or there.by_name.keys()
            nearest = difflib.get_close_matches(alone[0], sorted(free), n=1, cutoff=0.0)[0]
            raise PairingError(
                f"{here.by_name[alone[0]]} has no counterpart of its name in {there.directory}"
                f" (the nearest is {nearest!r}); {len(alone)} of {len(here.by_name)} {what} have none",
                remedy="Give each pair one name in both directories, or remove what has no counterpart",
            )
    return {name: (path, targets.by_name[name]) for name, path in inputs.by_name.items()}
