"""A store's directory: which version is current, which build is under way, and who may write.

STORE/current                 names the current version; replaced atomically, last
STORE/versions/<digest>/      complete and immutable
STORE/building/<build key>/   a build under way or killed; the same build resumes in it
STORE/card/                   describes the current version; derived, absent until a build has written it (`p2p_core/card/`)
STORE/digests.json            what this machine's files were last found to hold; may be removed at any time
STORE/.lock                   held by the one process that builds
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from p2p_core.errors import OutputError, StoreError
from p2p_core.files import locked, output_errors, require_utf8, write_atomic
from p2p_core.pairstore.manifest import MANIFEST, Manifest, read_manifest, version_name

__all__ = [
    "BUILDING",
    "CARD",
    "CURRENT",
    "DIGESTS",
    "VERSIONS",
    "Admit",
    "build_lock",
    "building_path",
    "current_or_none",
    "current_version",
    "find_version",
    "is_store",
    "is_version",
    "named_version",
    "publish",
    "replace_card",
    "set_current",
    "strangers",
    "sweep_building",
    "version_before",
]

CURRENT, VERSIONS, BUILDING, LOCK, CARD, DIGESTS = "current", "versions", "building", ".lock", "card", "digests.json"
_OWN = {CURRENT, VERSIONS, BUILDING, LOCK, DIGESTS}
_HALF_WRITTEN = tuple(f".{name}.*.partial" for name in (CURRENT, CARD, DIGESTS))  # of a build killed while it wrote them
_DAMAGED = "damaged-"
_NEVER_NS = 0  # the time of a version that has not been current yet

Admit = Callable[[Path, Path], object]
"""(current version, new version): raises where the new one is not to become current."""


def is_version(path: Path) -> bool:
    """Whether `path` is a version's directory rather than a store's."""
    return (path / MANIFEST).is_file()


def is_store(path: Path) -> bool:
    """Whether a build has begun here, complete or not."""
    return any((path / name).exists() for name in (CURRENT, VERSIONS, BUILDING))


def building_path(store_path: Path, build_key: str) -> Path:
    return store_path / BUILDING / version_name(build_key)


def current_version(store_path: Path) -> Path:
    """The current version's directory.

    Raises:
        StoreError: there is no store here, or none that was ever completed.
    """
    try:
        name = (store_path / CURRENT).read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if (store_path / BUILDING).is_dir():
            raise StoreError(
                f"{store_path} is incomplete: its build was interrupted",
                remedy="Run the same build again; it resumes where it stopped",
            ) from None
        raise StoreError(f"{store_path} is not a pair store", remedy="Give the directory `p2p build --out` wrote") from None
    version = store_path / VERSIONS / name
    if not name or not is_version(version):
        raise StoreError(
            f"{store_path} names version {name!r} as current, which is not there", remedy="Build the dataset again"
        )
    return version


def current_or_none(store_path: Path) -> Path | None:
    """None where nothing was completed yet, or what was is gone."""
    try:
        return current_version(store_path)
    except StoreError:
        return None


def named_version(path: Path) -> Path:
    """The directory of the version that `STORE@VERSION` names, by its digest or the beginning of it; any other path as it is.

    Raises:
        StoreError: the store has no such version, or several whose digest begins so.
    """
    store_name, at, wanted = str(path).rpartition("@")
    if not at or not (store := Path(store_name) / VERSIONS).is_dir() or path.exists():
        return path
    known = sorted(version.name for version in store.iterdir() if is_version(version))
    # A whole digest is what `p2p build` prints; a directory has the beginning of it.
    found = [name for name in known if wanted and (name.startswith(wanted) or wanted.startswith(name))]
    if len(found) != 1:
        raise StoreError(
            f"{store_name} has {f'{len(found)} versions' if found else 'no version'} {wanted!r}",
            remedy=f"Use one of: {', '.join(known)}",
        )
    return store / found[0]


def version_before(store_path: Path) -> Path:
    """The version that was current before the one that is: of the others the one that became current last.

    Versions that a build kept without making them current are none of them.

    Raises:
        StoreError: not a store, or there is no other version.
    """
    current = current_version(store_path)
    versions = (path for path in (store_path / VERSIONS).iterdir() if is_version(path))
    others = [path for path in versions if path.name != current.name and path.stat().st_mtime_ns != _NEVER_NS]
    if not others:
        raise StoreError(
            f"{store_path} has no version but {current.name}, the current one, that ever was current",
            remedy="Name another store, or STORE@VERSION, to compare it with",
        )
    return max(others, key=lambda path: (path.stat().st_mtime_ns, path.name))


@contextmanager
def build_lock(store_path: Path) -> Iterator[None]:
    """Hold the right to build in a store; the operating system frees it when the process ends, however it ends.

    A record lock, not flock: worker processes forked by a killed build must not keep it.

    Raises:
        OutputError: another process is building there, or the place cannot be written.
        UsageError: the place's name is not UTF-8.
    """
    require_utf8(store_path)
    with output_errors(store_path):
        _claim(store_path)
    busy = OutputError(f"Another process is building {store_path}", remedy="Wait until it is done, or choose another output")
    with locked(store_path / LOCK, busy=busy):
        for leftover in filter(_is_half_written, list(store_path.iterdir())):
            _remove(leftover)
        yield


def strangers(store_path: Path) -> list[str]:
    """The names of what lies in a store's directory and is not of it."""
    own = {*_OWN, CARD} if (store_path / VERSIONS).is_dir() else _OWN
    return sorted({entry.name for entry in store_path.iterdir() if not _is_half_written(entry)} - own)


def _claim(store_path: Path) -> None:
    """Make the store's directory, or see that what is there is one."""
    store_path.mkdir(parents=True, exist_ok=True)
    if found := strangers(store_path):
        raise OutputError(
            f"{store_path} holds something other than a pair store: {', '.join(found[:3])}",
            remedy="Choose an empty or new directory for the store",
        )


def find_version(store_path: Path, build_key: str) -> tuple[Path, Manifest] | None:
    """A version this very build has made before, if its manifest is intact."""
    for path in sorted((store_path / VERSIONS).glob("*")):
        try:
            manifest = read_manifest(path)
        except StoreError:
            continue
        if manifest.build_key == build_key:
            return path, manifest
    return None


def publish(store_path: Path, built_path: Path, manifest: Manifest, admit: Admit | None = None) -> Path:
    """Turn a finished building directory into the current version and remove what builds left behind.

    Raises:
        OutputError: the place cannot be written.
        Whatever `admit` raises; the version is kept then, and the current one stays current.
    """
    version = store_path / VERSIONS / version_name(manifest.digest)
    with output_errors(version):
        version.parent.mkdir(exist_ok=True)
        if version.exists():
            # The same content, damaged: an intact one would have been found before anything was built.
            version.rename(built_path.with_name(f"{_DAMAGED}{version.name}"))
        os.utime(built_path, ns=(_NEVER_NS, _NEVER_NS))
        built_path.rename(version)
    try:
        set_current(store_path, version, admit)
    finally:
        # Workers that outlived a killed build may still write there; what they leave is in nobody's way.
        shutil.rmtree(store_path / BUILDING, ignore_errors=True)
    return version


def sweep_building(store_path: Path, build_key: str) -> None:
    """Remove what a build left behind that was killed after publishing. What others began stays: they resume in it."""
    building, own = store_path / BUILDING, building_path(store_path, build_key).name
    for left in [*building.glob(f"{own}*"), *building.glob(f"{_DAMAGED}*")]:
        shutil.rmtree(left, ignore_errors=True)
    with suppress(OSError):  # it is not empty, or not there
        building.rmdir()


def set_current(store_path: Path, version: Path, admit: Admit | None = None) -> None:
    """Point to `version`, unless `admit` raises: it is asked where another version is current."""
    current = current_or_none(store_path)
    if admit is not None and current is not None and current != version:
        admit(current, version)
    with output_errors(version):
        os.utime(version)  # the directory's time tells when it became current; no byte of a version does
    _take_away(store_path / CARD)  # it is of another version
    write_atomic(store_path / CURRENT, f"{version.name}\n".encode())


def replace_card(store_path: Path, files: Mapping[str, bytes]) -> None:
    """Write the card's files by name, whole or not at all, in place of an earlier card.

    Raises:
        OutputError: the place is read-only or full.
    """
    card = store_path / CARD
    written = _partial(card)
    for name, data in files.items():
        write_atomic(written / name, data)
    _take_away(card)
    with output_errors(card):
        written.rename(card)


def _take_away(path: Path) -> None:
    """Remove at one stroke: no reader sees a half of it."""
    with output_errors(path):
        gone = _partial(path)
        try:
            path.rename(gone)
        except FileNotFoundError:
            return
        _remove(gone)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")


def _is_half_written(entry: Path) -> bool:
    return any(entry.match(pattern) for pattern in _HALF_WRITTEN)


def _remove(path: Path) -> None:
    with output_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
