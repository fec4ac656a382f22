"""What only people know of a dataset: its title, its licence, who made it."""

from __future__ import annotations

import datetime

from p2p_core.config import Config

__all__ = ["About"]


class About(Config):
    """Given with a build, shown on its card, and no part of the dataset's digest. What is not given is not guessed.

    Attributes:
        licence: its SPDX name or its URL.
        creator: the organization or person.
        cite_as: how to cite it, BibTeX best.
        url: its home page.
        date_published: as YYYY-MM-DD; a card knows no time by itself, so that the same store gives the same card.
    """

    title: str | None = None
    description: str | None = None
    licence: str | None = None
    creator: str | None = None
    cite_as: str | None = None
    url: str | None = None
    date_published: datetime.date | None = None
