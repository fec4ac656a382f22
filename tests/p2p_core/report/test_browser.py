"""The page in a real browser, where one is installed: scripts run, nothing overflows, nothing is asked of a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from p2p_core.report.page import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=3000",
    "--enable-logging=stderr",
)
MEASURE = """<script>addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  const broken = [...document.images].filter((image) => image.src && !image.naturalWidth).length;
  document.body.dataset.measured = `wide=${wide} broken=${broken} requests=${performance.getEntriesByType("resource")
    .filter((entry) => !entry.name.startsWith("data:")).length}`;
});</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.mark.parametrize("width_px", [500, 1280])
def test_page_runs_in_a_browser_without_errors_overflow_or_requests(width_px: int, demo: Path, tmp_path: Path) -> None:
    page = write_report(demo)
    page.write_text(page.read_text().replace("</body>", f"{MEASURE}</body>"))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [str(CHROMIUM), *FLAGS, profile, f"--window-size={width_px},900", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    measured = re.search(r'data-measured="([^"]*)"', done.stdout)
    assert measured is not None, done.stderr[-2000:]
    assert measured[1] == "wide=0 broken=0 requests=0"
    assert 'class="compare-frame"' in done.stdout, "the compare slider was not added"
    assert 'class="zoom"' in done.stdout, "pictures cannot be enlarged"
    assert "Uncaught" not in done.stderr
