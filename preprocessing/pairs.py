"""The words of dataset building: a source yields outcomes, an outcome is a pair or a rejection.

Legend: H W pixels, C bands; pixels are of their encoding's dtype.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from numpy.typing import NDArray

from p2p_core.config import Config
from p2p_core.geometry import Window
from p2p_core.pairstore.schema import RejectedRecord

__all__ = ["OneFile", "Outcome", "Pair", "PairBuilder", "Rejected", "SourceRef"]


@dataclass(frozen=True, slots=True)
class OneFile(Mapping[str, str]):
    """The `files` of a source that is one file: `role`/`place`. A dictionary takes four times the memory."""

    role: str
    place: str
    sha256: str

    def __getitem__(self, name: str) -> str:
        if name != f"{self.role}/{self.place}":
            raise KeyError(name)
        return self.sha256

    def __iter__(self) -> Iterator[str]:
        return iter((f"{self.role}/{self.place}",))

    def __len__(self) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class SourceRef:
    """What a builder reads at once: a file, two files, a block of a raster. Builders add where it is in a subclass.

    Attributes:
        source_id: the same on every machine and in every build; it decides the shards the pairs go to.
        digest: of everything `PairBuilder.build` reads for this source; another digest means it is built again.
        max_pairs: the most pairs it can yield, known without decoding.
        files: for lineage, the name of each file (not its place) and the sha256 of its bytes.
    """

    source_id: str
    digest: str
    max_pairs: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class Pair:
    """`window` is the pair's place in the target raster's pixel grid; None for whole pictures."""

    pair_id: str
    source_id: str
    input_HWC: NDArray[Any]
    target_HWC: NDArray[Any]
    window: Window | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejected(RejectedRecord):
    """For its thumbnail, `pictures`: (input, target) as a pair's, or one RGB picture; or `seen_in`: files that may show it."""

    pictures: tuple[NDArray[Any], ...] = field(default=(), compare=False, repr=False)
    seen_in: tuple[Path, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of_pair(cls, pair: Pair, reason: str, detail: str) -> Rejected:
        return cls(pair.source_id, pair.pair_id, reason, detail, pair.window, pictures=(pair.input_HWC, pair.target_HWC))


Outcome = Pair | Rejected
S = TypeVar("S", bound=SourceRef)


class PairBuilder(Protocol[S]):
    """Makes pairs of raw images. Pickled to the workers that build; opens files where it is used.

    Attributes:
        version: to be raised when a change of code changes what comes out, so that nothing old is reused.
        parameters: everything that shapes the pairs, and no directories: they say nothing about a dataset.
        detector_weights_sha256: of the trained network that takes part in making pairs, if one does.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def parameters(self) -> Config: ...
    @property
    def input_encoding(self) -> str: ...
    @property
    def target_encoding(self) -> str: ...
    @property
    def detector_weights_sha256(self) -> str | None: ...

    def size_px(self) -> tuple[int, int]:
        """(height, width) of every pair."""
        ...

    def sources(self) -> Sequence[S]:
        """Every source, looked up and hashed but not decoded.

        Raises:
            EmptySourceError: there is nothing to build from.
            P2PError: the sources do not fit together.
        """
        ...

    def build(self, source: S) -> Iterator[Outcome]:
        """The source's pairs in ascending order of their ids, with its rejected items between them.

        Bad data is a value: an image that cannot be decoded is a `Rejected`, it does not raise.
        """
        ...
