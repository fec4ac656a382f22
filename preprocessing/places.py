"""Sources that are files in directories, by what a dataset calls them: it does not tell, or depend on, where they lay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from p2p_core.errors import RasterError, UsageError
from p2p_core.files import place_in, sha256_json
from p2p_core.rasters.registry import source_digest
from preprocessing.pairs import Rejected, SourceRef
from preprocessing.quality import twins
from preprocessing.split import directory_split

__all__ = ["FilesSource", "Places", "require_two"]


@dataclass(frozen=True)
class FilesSource(SourceRef):
    """`paths`: one of each place. `split`: the directory among train, val and test. `refused`: why it is not looked into."""

    paths: tuple[Path, ...]
    split: str | None
    refused: Rejected | None


@dataclass(frozen=True)
class Places:
    """`by_role`: what a dataset calls them -> directories, or files."""

    by_role: Mapping[str, Path]

    def without(self, text: str) -> str:
        """A message as the dataset keeps it."""
        for role, place in sorted(self.by_role.items(), key=lambda item: -len(str(item[1]))):  # one may begin like another
            text = text.replace(str(place), role)
        return text

    def rejected(self, source: FilesSource, item: str, error: RasterError) -> Rejected:
        """Raises the error itself for a file that was there when sources were listed: that is no verdict to keep."""
        if error.reason == "missing":
            raise error
        return Rejected(source.source_id, item, error.reason, self.without(error.problem), seen_in=_files_of(source.paths))

    def sources(
        self,
        matched: Mapping[str, tuple[Path, ...]],
        *,
        max_pairs: Callable[[tuple[Path, ...]], int] = lambda _: 1,
        digest: Callable[[Path], str] = source_digest,
    ) -> list[FilesSource]:
        """One of each name. Of those with the same bytes all but one are refused. `digest`: of what lies at one path."""
        files = {name: self._files(paths, digest) for name, paths in matched.items()}
        twin_of = twins({name: " ".join(digests.values()) for name, digests in files.items()})
        found = []
        for name, paths in matched.items():
            twin = twin_of.get(name)
            refused = (
                Rejected(name, name, "duplicate", f"It holds the same bytes as {twin}", seen_in=_files_of(paths))
                if twin
                else None
            )
            known = sha256_json({"files": files[name], "duplicate_of": twin})
            most = 0 if twin else max_pairs(paths)
            found.append(FilesSource(name, known, most, files[name], paths, directory_split(name), refused))
        return found

    def unsupported(self, role: str, path: Path, what: str) -> FilesSource:
        """A file that is none of those looked for. `what`: why, as a sentence."""
        place = place_in(self.by_role[role], path)
        digest = source_digest(path)
        source_id = f"{role}/{place}"  # no pair's id: two directories may hold a file of the same name
        refused = Rejected(source_id, place, "unsupported", what)
        return FilesSource(source_id, digest, 0, {source_id: digest}, (path,), None, refused)

    def _files(self, paths: Sequence[Path], digest: Callable[[Path], str]) -> dict[str, str]:
        """Name in the table of sources -> digest."""
        return {
            f"{role}/{place_in(place, path)}": digest(path)
            for (role, place), path in zip(self.by_role.items(), paths, strict=True)
        }


def _files_of(paths: Sequence[Path]) -> tuple[Path, ...]:
    return tuple(path for path in paths if path.is_file())  # of a clip's directory there is no one picture to show


def require_two(builder: str, places: Sequence[Path], endings: tuple[str, str], first: str, second: str) -> None:
    """Raises `UsageError` unless these are two directories, or one given twice whose files two endings of names tell apart."""
    if len(places) == 2 and (places[0].resolve() != places[1].resolve() or endings[0] != endings[1]):
        return
    given = f"{places[0]} is given twice" if len(places) == 2 else f"{len(places)} {'is' if len(places) == 1 else 'are'} given"
    raise UsageError(
        f"The builder {builder} takes two directories, and {given}", remedy=f"Give {first} directory, then {second}"
    )
