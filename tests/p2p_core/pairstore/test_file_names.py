from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2p_core.pairstore.file_names import file_stems

ids = (
    st.text(st.characters(codec="utf-8"), max_size=40)
    | st.text("aAbB.=/ ", max_size=4)
    | st.sampled_from(["con", "CON", "nUl.a"])
)


def id_of(stem: str) -> str:
    """As the module's docstring says a name is read: `=` and two hex digits are a byte."""
    if stem == "=":
        return ""
    return re.sub(rb"=([0-9A-F]{2})", lambda found: bytes([int(found[1], 16)]), stem.encode()).decode()


@given(st.sets(ids, max_size=20))
@example({"Door", "door", "DOOR", "=44oor", "con", "CON", "Con", "", "=", ".", ".."})
def test_every_id_has_a_safe_name_of_its_own_from_which_it_is_read_back(pair_ids: set[str]) -> None:
    stems = file_stems(pair_ids)
    assert set(stems) == pair_ids
    for pair_id, stem in stems.items():
        assert re.fullmatch(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*", stem), "safe, and not hidden"
        assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", stem, re.IGNORECASE), "no device of Windows"
        assert "==" in stem or id_of(stem) == pair_id
    assert len({stem.lower() for stem in stems.values()}) == len(pair_ids), "also where capitals do not count"


@pytest.mark.parametrize(
    ("pair_id", "stem"),
    [
        ("cmp_b0001", "cmp_b0001"),
        ("deep/Häuser 1", "deep=2FH=C3=A4user=201"),
        ("写真", "=E5=86=99=E7=9C=9F"),
        ("../../etc/passwd", "=2E.=2F..=2Fetc=2Fpasswd"),
        ("50%=half?", "50=25=3Dhalf=3F"),
        ("a\\b:c", "a=5Cb=3Ac"),
        ("nul.0", "=6Eul.0"),
        ("v1.2", "v1.2"),
    ],
)
def test_a_name_is_the_same_for_ever(pair_id: str, stem: str) -> None:
    """An export that is run again by a later program finds its pictures by it."""
    assert file_stems([pair_id]) == {pair_id: stem}


def test_long_ids_that_begin_alike_have_names_that_a_file_system_takes() -> None:
    stems = file_stems([f"{'x/é' * 90}{end}" for end in ("a", "b", "A")])
    assert len(set(stems.values())) == 3
    assert all(len(stem) < 220 and "==" in stem for stem in stems.values())
