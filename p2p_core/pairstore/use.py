"""Point a store to one of the versions it has: to accept one that a build kept back, or to go back to an earlier one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from p2p_core.errors import StoreError, UsageError
from p2p_core.pairstore.verify import version_problems
from p2p_core.pairstore.versions import VERSIONS, build_lock, is_version, named_version, set_current

__all__ = ["use_version"]


def use_version(path: Path, *, describe: Callable[[Path], object] | None = None) -> Path:
    """Make the version at `path`, a directory or `STORE@VERSION`, the current one of its store. Returns its directory.

    Args:
        describe: called last with the store, before a build may begin there.

    Raises:
        UsageError: `path` names no version of a store.
        StoreError: there is no such version, or a file of it is not what was written; the current one stays.
        OutputError: a build is under way there, or the place cannot be written.
    """
    version = named_version(path).absolute()
    if version.parent.name != VERSIONS or not is_version(version):
        raise UsageError(f"{path} names no version of a pair store", remedy="Write STORE@VERSION, as `p2p build` told it")
    store = version.parents[1]
    with build_lock(store):
        for problem in version_problems(version):
            raise StoreError(
                f"{version / problem.path} {problem.what}, so the version is not made current",
                remedy=f"See `p2p verify {path}`, and build it again from its sources",
            )
        set_current(store, version)
        if describe:
            describe(store)
    return version
