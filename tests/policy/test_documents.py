"""What the documents promise is there: commands, make targets, pages, and a reason for every dependency."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PINS = {"fastapi": "0.150", "sqlalchemy": "2.0"}
"""The highest release line of each that Prefect's server works with (docs/decisions/0002-pins.md)."""


def documents(root: Path) -> list[Path]:
    return [*root.glob("*.md"), *(root / "docs").rglob("*.md")]


def code(text: str) -> str:
    """Code blocks and code spans of a Markdown text, one piece a line."""
    blocks = re.findall(r"```[^\n]*\n(.*?)```", text, re.DOTALL)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return "\n".join([*blocks, *spans])


def requirements(pyproject: dict[str, Any]) -> list[Requirement]:
    project = pyproject["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def test_every_command_in_the_documents_is_one_that_p2p_has(root: Path) -> None:
    cli = pytest.importorskip("flows.cli", reason="the command line is not written yet", exc_type=ModuleNotFoundError)
    from typer.main import get_command

    known = set(get_command(cli.app).commands)
    used = {
        (match, path.name)
        for path in documents(root)
        for match in re.findall(r"(?:^|[\s/(])p2p ([a-z][a-z-]*)", code(path.read_text()), re.MULTILINE)
    }
    assert used, "the documents show no command"
    assert {(command, name) for command, name in used if command not in known} == set()


def test_every_make_target_in_the_documents_exists(root: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (root / "Makefile").read_text(), re.MULTILINE))
    used = {
        (target, path.name)
        for path in documents(root)
        for call in re.findall(r"^(?:\$ )?make ((?:[a-zA-Z_=.0-9-]+ ?)+)", code(path.read_text()), re.MULTILINE)
        for target in call.split()
        if "=" not in target
    }
    assert used, "the documents show no make target"
    assert {(target, name) for target, name in used if target not in targets} == set()


def test_the_readme_shows_the_two_commands_that_matter(root: Path) -> None:
    readme = code((root / "README.md").read_text())
    assert "make demo" in readme
    assert "make test" in readme


def test_every_link_to_a_file_leads_somewhere(root: Path) -> None:
    broken = [
        f"{path.name}: {target}"
        for path in documents(root)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", re.sub(r"<!--.*?-->", "", path.read_text(), flags=re.DOTALL))
        if "://" not in target and not (path.parent / target).exists()
    ]
    assert broken == []


def test_every_dependency_has_a_line_that_says_why(root: Path, pyproject: dict[str, Any]) -> None:
    page = (root / "docs" / "decisions" / "0003-dependencies.md").read_text()
    explained = {canonicalize_name(name) for name in re.findall(r"^\| `([^`]+)` \| \S", page, re.MULTILINE)}
    needed = {canonicalize_name(requirement.name) for requirement in requirements(pyproject)}
    assert needed - explained == set(), "without a reason"
    assert explained - needed == set(), "explained, but not needed any more"


def test_constraints_name_one_version_of_every_dependency_and_it_fits(root: Path, pyproject: dict[str, Any]) -> None:
    pinned: dict[str, str] = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            assert canonicalize_name(name) not in pinned, f"{name} twice"
            pinned[canonicalize_name(name)] = version
    for requirement in requirements(pyproject):
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{name} has no version in constraints.txt"
        assert requirement.specifier.contains(pinned[name], prereleases=True), f"{name} {pinned[name]} is not {requirement}"


def test_the_two_pins_that_prefect_needs_are_stated(pyproject: dict[str, Any]) -> None:
    stated = {canonicalize_name(r.name): r.specifier for r in requirements(pyproject)}
    for name, highest in PINS.items():
        major, minor = map(int, highest.split("."))
        assert stated[name].contains(f"{highest}.0")
        assert not stated[name].contains(f"{major}.{minor + 1}.0")


def test_pre_commit_runs_exactly_the_commands_of_make_lint(root: Path) -> None:
    import yaml

    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (root / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    make = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    repositories = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"]
    assert [repository["repo"] for repository in repositories] == ["local"], "a hook from elsewhere needs a network"
    assert [hook["entry"] for hook in repositories[0]["hooks"]] == make
