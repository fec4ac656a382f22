"""Does every file hold the bytes it was written with? Used by `p2p verify`, and before files of a version are reused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from p2p_core.digests import file_digest
from p2p_core.errors import StoreError
from p2p_core.files import Problem, canonical_json
from p2p_core.pairstore.manifest import MANIFEST, FileEntry, read_manifest, version_name
from p2p_core.pairstore.versions import CURRENT, VERSIONS, current_version, is_version, strangers

__all__ = ["file_problems", "verify_store", "version_problems"]


_OTHER_BYTES = "holds other bytes than were written"


def verify_store(path: Path) -> list[Problem]:
    """Re-hash every file of a version, or of all versions of a store, against their manifests. Empty: all is well.

    Raises:
        StoreError: `path` is neither a store nor a version of one.
    """
    if is_version(path):
        return list(version_problems(path))
    problems = []
    try:
        name = current_version(path).name
        if (path / CURRENT).read_bytes() != f"{name}\n".encode():
            problems.append(Problem(CURRENT, _OTHER_BYTES))
    except StoreError as error:
        if not (path / VERSIONS).is_dir():
            raise
        problems.append(Problem(CURRENT, error.problem))
    problems += [Problem(name, "is not of the store") for name in strangers(path)]
    for version in sorted((path / VERSIONS).iterdir()):
        place = version.relative_to(path).as_posix()
        problems += [Problem(f"{place}/{problem.path}", problem.what) for problem in version_problems(version)]
    return problems


def version_problems(version_path: Path) -> Iterator[Problem]:
    """What is wrong with one version: its manifest, then file by file in order of their names."""
    try:
        manifest = read_manifest(version_path)
    except StoreError as error:
        yield Problem(MANIFEST, error.problem)
        return
    if (data := (version_path / MANIFEST).read_bytes()) != canonical_json(json.loads(data)):
        yield Problem(MANIFEST, _OTHER_BYTES)  # where JSON has blanks, which its digest knows nothing of
    if version_path.parent.name == VERSIONS and version_path.name != version_name(manifest.digest):
        yield Problem(MANIFEST, f"is of version {version_name(manifest.digest)}, not of the directory it lies in")
    yield from file_problems(version_path, manifest.files)
    for name in sorted({*_files_in(version_path)} - {*manifest.files, MANIFEST}):
        yield Problem(name, "is not in the manifest")


def _files_in(directory: Path) -> Iterator[str]:
    """All that are no directories, relative to it. `Path.rglob` takes five times as long, and every build comes by here."""
    for folder, _, names in os.walk(directory):
        inside = folder[len(str(directory)) + 1 :].replace(os.sep, "/")
        yield from (f"{inside}/{name}" if inside else name for name in names)


def file_problems(root: Path, files: Mapping[str, FileEntry]) -> Iterator[Problem]:
    """The files under `root` that are absent or do not hold the bytes they should. Every core hashes."""
    digest_of = file_digest()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: _file_problem(root / name, name, files[name], digest_of), sorted(files))
        yield from (problem for problem in found if problem)


def _file_problem(path: Path, name: str, entry: FileEntry, digest_of: Callable[[Path], str]) -> Problem | None:
    try:
        size_bytes = path.stat().st_size
        if size_bytes != entry.size_bytes:
            return Problem(name, f"has {size_bytes} bytes instead of {entry.size_bytes}")
        if digest_of(path) != entry.sha256:
            return Problem(name, _OTHER_BYTES)
    except FileNotFoundError:
        return Problem(name, "is missing")
    except OSError as error:
        return Problem(name, f"cannot be read: {error.strerror}")
    return None
