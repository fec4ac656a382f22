"""What a progress line says of rate and time left."""

from __future__ import annotations

import io
import re
import time

import pytest

from p2p_core.progress import ProgressLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report_after_a_thousand_reused(stream: io.StringIO) -> str:
    """1000 of 1020 were done before; then four, a tenth of a second each: 10/s, a second and a half left."""
    with ProgressLine("translate", 1020, "blocks", every_s=0, stream=stream) as progress:
        time.sleep(0.3)  # reading the ledger is no work on blocks
        progress.update(1000)
        for done in range(1001, 1005):
            time.sleep(0.1)
            progress.update(done)
    return stream.getvalue()


def test_a_plain_line_counts_what_was_done_before_but_only_the_new_work_in_its_rate() -> None:
    lines = report_after_a_thousand_reused(io.StringIO()).splitlines()
    assert lines[0] == "translate: 1000/1020 blocks, 0.0/s, unknown left"
    last = re.fullmatch(r"translate: 1004/1020 blocks, ([\d.]+)/s, (\d+) s left", lines[-1])
    assert last
    assert 0 < float(last[1]) <= 10
    assert int(last[2]) >= 2


def test_a_bar_counts_what_was_done_before_but_only_the_new_work_in_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    text = report_after_a_thousand_reused(Terminal())
    assert "1004/1020" in text
    rates = [float(rate) for rate in re.findall(r"([\d.]+) blocks/s", text)]
    assert 0 < max(rates) <= 10
    assert re.findall(r"\d:\d\d:\d\d", text)[-1] >= "0:00:02"


def test_a_run_in_which_nothing_was_left_to_do_claims_no_speed() -> None:
    stream = io.StringIO()
    with ProgressLine("translate", 1020, "blocks", stream=stream) as progress:
        progress.update(1020)
    assert stream.getvalue() == "translate: 1020/1020 blocks, 0.0/s, 0 s left\n"
