"""Find pictures in directories and tell which input belongs to which target, by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from p2p_core.errors import EmptySourceError, PairingError
from p2p_core.rasters.registry import FILE_FORMATS
from preprocessing.endings import Endings, fitting_endings

__all__ = ["Pictures", "find_pictures", "match_pictures", "name_without", "nothing_found", "pictures_in_order", "visible_files"]


@dataclass(frozen=True)
class Pictures:
    """`by_name`: relative path without suffix and ending -> file. `others`: files that are no picture by their suffix."""

    directory: Path
    by_name: Mapping[str, Path]
    others: tuple[Path, ...]


class Files(Mapping[str, Path]):
    """Name -> file. Of each its place below one directory is kept, a quarter of what its `Path` takes."""

    def __init__(self, directory: Path, places: Mapping[str, str]) -> None:
        self._directory, self._places = directory, places

    def __getitem__(self, name: str) -> Path:
        return self._directory / self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def visible_files(directory: Path) -> Iterator[Path]:
    """Every file under a directory, in order of paths. Hidden files and what hidden directories hold are passed over.

    Raises:
        PairingError: a name is no text: a dataset's tables hold names as UTF-8.
    """
    for place in _visible_places(directory):
        yield directory / place


def _visible_places(directory: Path) -> list[str]:
    """As `visible_files`, relative to the directory. A link to a directory is no file, nor is it followed."""
    places = []
    for folder, folders, files in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = "" if (place := os.path.relpath(folder, directory)) == os.curdir else f"{place}/"
        places += [inside + name for name in files if not name.startswith(".")]
    places.sort(key=lambda place: place.replace("/", "\0"))  # as the parts of paths are ordered
    for place in places:
        _require_text(place)
    return places


def find_pictures(directory: Path, ending: str = "") -> Pictures:
    """Every picture under a directory, in order of names. Hidden files and directories are passed over.

    Args:
        ending: names are without it, and what lacks it takes no part: `_color`, or with the file's suffix, `.jpg`, `_A.png`.

    Raises:
        EmptySourceError: the directory is missing or holds no picture, or none with that ending.
        PairingError: two pictures have one name but for the suffix, or a name is no text.
    """
    if not directory.is_dir():
        raise EmptySourceError(f"{directory} is not a directory", remedy="Give the directory that holds the pictures")
    by_name: dict[str, str] = {}
    others, lacking = [], []
    for place in _visible_places(directory):
        path, name = directory / place, name_without(PurePath(place), ending)
        if name is None:
            lacking.append(path)
        elif path.suffix.lower() not in FILE_FORMATS:
            others.append(path)
        elif name in by_name:
            raise _one_name(directory / by_name[name], path)
        else:
            by_name[name] = place
    if not by_name:
        remedy = f"Put pictures there, of a kind among {', '.join(FILE_FORMATS)}"
        raise nothing_found(directory, ending, lacking, "picture", remedy)
    return Pictures(directory, Files(directory, by_name), tuple(others))


def pictures_in_order(directory: Path, ending: str = "") -> Iterator[Path]:
    """Those that `find_pictures` finds, as long as one asks for more of them."""
    for place in _visible_places(directory):
        path = PurePath(place)
        if path.suffix.lower() in FILE_FORMATS and name_without(path, ending) is not None:
            yield directory / place


def name_without(place: PurePath, ending: str) -> str | None:
    """A file's relative path without suffix and ending; None where it does not end so, or has no other name."""
    for whole in (place.with_suffix("").as_posix(), place.as_posix()):
        name = whole.removesuffix(ending)
        if whole.endswith(ending) and name and not name.endswith("/"):
            return name
    return None


def nothing_found(directory: Path, ending: str, lacking: Sequence[Path], what: str, remedy: str) -> EmptySourceError:
    """`lacking`: what is there, but has not the ending."""
    if lacking:
        return EmptySourceError(
            f"{directory} holds no {what} whose name ends in {ending!r}; {lacking[0].name}, for one, does not",
            remedy="Correct the ending",
        )
    return EmptySourceError(f"{directory} holds no {what}", remedy=remedy)


def match_pictures(
    inputs: Pictures,
    targets: Pictures,
    *,
    what: str = "pictures",
    options: tuple[str, str] = ("input_suffix", "target_suffix"),
) -> dict[str, tuple[Path, Path]]:
    """Name -> (input, target). Names may differ by how those of all inputs and those of all targets end, if only one way fits.

    Args:
        what: messages call them.
        options: the parameters that name the endings.

    Raises:
        PairingError: one has no counterpart. Names it, the nearest name there is, how many more there are, and what helps.
    """
    if inputs.by_name.keys() == targets.by_name.keys():
        return {name: (path, targets.by_name[name]) for name, path in inputs.by_name.items()}
    choices = fitting_endings(inputs.by_name, targets.by_name)
    if len(choices) == 1 and choices[0].can_be_guessed:
        ours, theirs = (
            {name.removesuffix(ending): path for name, path in side.by_name.items() if name.endswith(ending)}
            for side, ending in zip((inputs, targets), choices[0], strict=True)
        )
        if ours.keys() == theirs.keys() and (len(ours), len(theirs)) == (len(inputs.by_name), len(targets.by_name)):
            return {name: (path, theirs[name]) for name, path in ours.items()}
    raise _unmatched(inputs, targets, what, _remedy(choices, options))


def _unmatched(inputs: Pictures, targets: Pictures, what: str, remedy: str) -> PairingError:
    here, there = (inputs, targets) if inputs.by_name.keys() - targets.by_name.keys() else (targets, inputs)
    alone = sorted(here.by_name.keys() - there.by_name.keys())
    free = there.by_name.keys() - here.by_name.keys() or there.by_name.keys()
    nearest = difflib.get_close_matches(alone[0], sorted(free), n=1, cutoff=0.0)[0]
    return PairingError(
        f"{here.by_name[alone[0]]} has no counterpart of its name in {there.directory}"
        f" (the nearest is {nearest!r}); {len(alone)} of {len(here.by_name)} {what} have none",
        remedy=remedy,
    )


def _remedy(choices: Sequence[Endings], options: tuple[str, str]) -> str:
    if not choices:
        return "Give each pair one name in both directories, or remove what has no counterpart"
    ways = [
        " ".join(f"--set {option}={ending}" for option, ending in zip(options, choice, strict=True) if ending)
        for choice in choices
    ]
    return f"Say how names end: {', or '.join(ways)}"


def _require_text(place: str) -> None:
    try:
        place.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(place).decode(errors="backslashreplace")
        raise PairingError(f"The name of {shown} is not UTF-8, so no table can hold it", remedy="Rename it") from None


def _one_name(path: Path, other: Path) -> PairingError:
    return PairingError(
        f"{path} and {other} have one name",
        remedy="Rename or remove one of them; or, to pair them, name this directory twice and set the suffixes (input_suffix"
        f" and target_suffix of folders, photo_suffix and label_suffix of labels) to {path.suffix} and {other.suffix}",
    )
