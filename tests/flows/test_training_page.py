"""What a training prints is in its run's log: bounded, and its last words always."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from flows.services.live_artifacts import LiveArtifacts
from flows.services.training_page import _Page


@pytest.fixture
def page(tmp_path: Path) -> _Page:
    return _Page(tmp_path, LiveArtifacts(lambda _: None), logging.getLogger("page"))


def test_a_few_lines_are_logged_as_they_come(page: _Page, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        page.printed("one")
        assert caplog.messages == ["| one"]
        page.close()
    assert caplog.messages == ["| one"]


def test_of_very_many_lines_the_first_and_the_last_are_logged(page: _Page, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        for number in range(5000):
            page.printed(str(number))
        page.close()
    assert caplog.messages[1998:2002] == ["| 1998", "| 1999", "| [2980 lines left out]", "| 4980"]
    assert caplog.messages[-1] == "| 4999"
    assert len(caplog.messages) == 2021
