"""The page in a real browser, where one is installed: scripts run, nothing overflows, nothing is asked of a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from p2p_core.report.page import write_report
from p2p_core.report.store_page import write_store_report

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


def opened(page: Path, width_px: int, tmp_path: Path) -> str:
    """The page's document after its scripts ran, which have measured it and found no fault."""
    page.write_text(page.read_text().replace("</body>", f"{MEASURE}</body>"))
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [str(CHROMIUM), *FLAGS, profile, f"--window-size={width_px},900", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    measured = re.search(r'data-measured="([^"]*)"', done.stdout)
    assert measured is not None, done.stderr[-2000:]
    assert measured[1] == "wide=0 broken=0 requests=0"
    assert "Uncaught" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("width_px", [500, 1280])
def test_page_runs_in_a_browser_without_errors_overflow_or_requests(width_px: int, demo: Path, tmp_path: Path) -> None:
    document = opened(write_report(demo), width_px, tmp_path)
    assert 'class="compare-frame"' in document, "the compare slider was not added"
    assert 'class="zoom"' in document, "pictures cannot be enlarged"


@pytest.mark.parametrize("width_px", [500, 1280])
def test_the_page_of_a_store_does_so_too(width_px: int, labelled_store: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(labelled_store, tmp_path / "store"))
    document = opened(write_store_report(store), width_px, tmp_path)
    assert 'class="zoom"' in document, "pictures cannot be enlarged"
