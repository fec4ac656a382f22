"""How the names of inputs and targets end where they differ by that alone: `street_leftImg8bit` and `street_gtFine_color`."""

from __future__ import annotations

import re
from collections.abc import Collection
from itertools import takewhile
from typing import NamedTuple

__all__ = ["Endings", "fitting_endings"]

_ASKED = 3
"""Names whose nearest counterparts propose endings: the first may be the one whose counterpart is missing."""


class Endings(NamedTuple):
    """What inputs' and targets' names have more than the name they share."""

    input: str
    target: str

    @property
    def can_be_guessed(self) -> bool:
        """`_1` and `_2` may as well be two of a series as the two of a pair."""
        return all(re.search("[A-Za-z]", ending) or not ending for ending in self)


def fitting_endings(inputs: Collection[str], targets: Collection[str]) -> list[Endings]:
    """Endings that make the same names of most inputs and targets that have them. Of two that make the same, the shorter.

    Endings begin where a name has no letter or digit. All inputs or all targets have theirs; the other side may hold several
    pictures of a name.
    """
    found = []
    for endings in sorted(_proposed(inputs, targets)):
        ours, theirs = (_without(names, ending) for names, ending in zip((inputs, targets), endings, strict=True))
        complete = len(ours) == len(inputs) or len(theirs) == len(targets)
        if complete and 2 * len(ours & theirs) > max(len(ours), len(theirs)):
            found.append(endings)
    return found


def _without(names: Collection[str], ending: str) -> set[str]:
    return {name.removesuffix(ending) for name in names if name.endswith(ending)}


def _proposed(inputs: Collection[str], targets: Collection[str]) -> set[Endings]:
    ordered = sorted(inputs)
    asked = {ordered[i * (len(ordered) - 1) // (_ASKED - 1)] for i in range(_ASKED)}
    proposed = set()
    for name in asked:
        shared = {target: _shared(name, target) for target in targets}
        longest = max(map(len, shared.values()))
        proposed |= {
            Endings(name[longest:], t[longest:]) for t, begin in shared.items() if len(begin) == longest > 0 and t != name
        }
    return proposed


def _shared(name: str, other: str) -> str:
    """What both begin with, up to where each ends or goes on with a separator."""
    length = sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], zip(name, other, strict=False)))
    while length and not all(_ends_a_word(whole, length) for whole in (name, other)):
        length -= 1
    return name[:length] if not name[:length].endswith("/") else ""


def _ends_a_word(whole: str, place: int) -> bool:
    return place == len(whole) or not (whole[place].isalnum() or whole[place] == "/")
