"""What the repository may not contain: places on somebody's machine, package hosts, large files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

MAX_FILE_BYTES = 1_000_000

MACHINE_PLACES = re.compile(r"(?<![\w./*-])/(?:home|Users|root|work|mnt|opt|srv)/[\w.-]+|[A-Z]:\\\\[\w]")
PACKAGE_HOSTS = re.compile(
    r"files\.pythonhosted\.org|https?://[\w.-]*pypi[\w.-]*|download\.pytorch\.org|(?:index-url|find-links|trusted-host)\s*=\s*\S",
    re.I,
)


def test_no_file_names_a_place_on_one_machine(text_files: list[Path], root: Path) -> None:
    assert _found(MACHINE_PLACES, text_files, root) == []


def test_no_file_names_a_package_host(text_files: list[Path], root: Path) -> None:
    assert _found(PACKAGE_HOSTS, text_files, root) == []


def test_the_policy_finds_places_and_hosts() -> None:
    home = "/" + "home/ada/data"
    assert MACHINE_PLACES.search(f"open('{home}')")
    assert not MACHINE_PLACES.search("docs/home/ada and https://example.org/home/ada")
    assert PACKAGE_HOSTS.search("--index-url" + "=https://example.org/simple")
    assert not PACKAGE_HOSTS.search("export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)")


def test_no_tracked_text_is_large(text_files: list[Path], root: Path) -> None:
    large = [str(path.relative_to(root)) for path in text_files if path.stat().st_size > MAX_FILE_BYTES]
    assert large == []


def test_every_room_is_packaged_with_the_files_it_reads(root: Path) -> None:
    """Templates, style sheets and scripts beside modules are read at run time: a wheel has to carry them."""
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    missing = []
    for package in ("p2p_core", "preprocessing", "flows"):
        kept = {path for pattern in patterns.get(package, []) for path in (root / package).glob(pattern)}
        data = {p for p in (root / package).rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc", ".partial")}
        missing += [str(path.relative_to(root)) for path in data - kept]
    assert sorted(missing) == []


def _found(pattern: re.Pattern[str], paths: list[Path], root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{number}: {match.group()}"
        for path in paths
        if path.name != Path(__file__).name
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1)
        if (match := pattern.search(line))
    ]
