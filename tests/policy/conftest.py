"""The repository as the policies see it."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="session")
def modules() -> list[Path]:
    """Every module of the three packages."""
    return sorted(path for package in ("p2p_core", "preprocessing", "flows") for path in (ROOT / package).rglob("*.py"))


@pytest.fixture(scope="session")
def text_files() -> list[Path]:
    """Every text file that git tracks, or would track; in an export without git, every file outside of tools' folders."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        paths = [
            path for path in ROOT.rglob("*") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
        ]
    return sorted(path for path in paths if path.is_file() and _is_text(path))


def _is_text(path: Path) -> bool:
    return b"\0" not in path.read_bytes()[:4096]
