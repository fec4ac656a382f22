"""A store, and its card."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from p2p_core.card.about import About
from p2p_core.card.card import write_card


@pytest.fixture
def store(labelled_store: Path, tmp_path: Path) -> Path:
    """A copy, to be written to."""
    return Path(shutil.copytree(labelled_store, tmp_path / "store"))


@pytest.fixture
def full_about() -> About:
    return About(
        title="Squares and noise",
        description="Made to be read back.",
        licence="CC-BY-4.0",
        creator="A laboratory",
        cite_as="@misc{squares, title={Squares and noise}}",
        url="https://example.org/squares",
        date_published="2026-11-22",
    )


@pytest.fixture
def card(store: Path) -> Path:
    return write_card(store, About())
