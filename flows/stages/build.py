"""Build a dataset from names, paths and values: what the command line, the flow and the pipeline have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from flows.stages.executors import Workers, executor_of
from p2p_core.card.about import About
from p2p_core.card.card import write_card
from p2p_core.config import Config, replace
from p2p_core.errors import UsageError
from p2p_core.geometry import Window
from p2p_core.pairstore.layout import ROLES, SPLITS, StoreLayout
from p2p_core.pairstore.reader import PairStore
from p2p_core.pairstore.schema import RejectedRecord
from p2p_core.progress import ProgressLine
from p2p_core.rasters.grid import Bounds
from preprocessing.build import BuildSummary, build_dataset
from preprocessing.builders import BUILDERS, BuilderKind
from preprocessing.drift import DriftLimits, StoreDrift, refuse_drift
from preprocessing.folders import FoldersBuilder
from preprocessing.frames import FramesBuilder
from preprocessing.hints import hint_of_buffer, hint_of_classes, hint_of_frames, hint_of_groups
from preprocessing.latitude import PAPER_FRACTIONS, PlacedTiles, latitude_split
from preprocessing.maps import MapsBuilder
from preprocessing.near_duplicates import Policy
from preprocessing.pairs import PairBuilder
from preprocessing.palette import PaletteBuilder
from preprocessing.plain_tiles import PlainTilesBuilder
from preprocessing.scenes import ScenesBuilder
from preprocessing.split import (
    BlockSplit,
    DirectorySplit,
    Fractions,
    GroupSplit,
    LatitudeSplit,
    NameSplit,
    SourceSplit,
    SplitRule,
)
from preprocessing.tiles import TilesBuilder

__all__ = ["BuildRequest", "SplitRequest", "build", "builder_kind", "one_of_each_reason", "tell_build"]


class SplitRequest(Config):
    """How pairs are shared out.

    Attributes:
        kind: `name` by a hash of the pair's name, `source` by a hash of its source's (a clip's, say), `directory` as the
            sources lie, `block` by geographic block, `latitude` in bands from north to south, train and test on the two
            sides of the median as in the paper.
        fractions: the shares; the default of each kind unless given. `directory` knows none.
        group_by: of `name` and `source`, what keeps sources together (`grouping.group_of`): `prefix`, as frames of one clip,
            `prefix:100`, `directory`, or a regular expression; `none` for nothing. Unless given nothing either, but where
            frames of clips seem to lie on both sides a hint says so.
        seed: of `name`, `source` and `block`.
        block_px: of `block`, in the target's pixels.
        buffer_px: of `block` (0 unless given) and `latitude` (half a tile), in the target's pixels.
        reserved: of both, ground no pair may touch: (west, south, east, north) in the target's CRS.
        wraps: of `block`, the target goes round the globe.
        near_duplicates: in several splits they `move` to one, are rejected (`reject`, one of each stays, in one split too) or
            stay (`keep`). Unless given `move` of `name` and `directory`; `keep` of palettes, of `source`, for clips of a camera
            share its view, and where ground is split, for ground cannot move.
        min_similarity: what counts as nearly the same, of 1 (`near_duplicates.fingerprint`).
    """

    kind: Literal["name", "source", "directory", "block", "latitude"] = "name"
    fractions: Fractions | None = None
    group_by: str | None = None
    seed: int = 0
    block_px: int = Field(1024, ge=1)
    buffer_px: int | None = Field(None, ge=0)
    reserved: tuple[Bounds, ...] = ()
    wraps: bool = False
    near_duplicates: Policy | None = None
    min_similarity: float = Field(0.8, gt=0, le=1)


class BuildRequest(Config):
    """One version of a pair store.

    Attributes:
        builder: a name of `preprocessing.builders.BUILDERS`.
        sources: what the builder takes, in its order.
        parameters: of the builder; what is left out keeps its default.
        about: for the store's card; no part of the dataset.
        drift: how far the version may be from the current one to become current itself; None for any distance.
    """

    builder: str
    sources: tuple[Path, ...]
    out: Path
    parameters: dict[str, Any] = Field(default_factory=dict)
    split: SplitRequest = SplitRequest()
    layout: StoreLayout = StoreLayout()
    workers: Workers = Workers()
    about: About = About()
    drift: DriftLimits | None = None


def build(request: BuildRequest) -> BuildSummary:
    """Build, or find unchanged, the store at `request.out`, with its card.

    Raises:
        DriftError: it drifted beyond `request.drift`; the version is kept, and the one before it stays current.
        P2PError: what `build_dataset` raises.
    """
    kind = builder_kind(request.builder)
    _refuse_store_in_source(request)
    parameters = kind.parameters.parse(request.parameters, where=f"Parameters of builder {request.builder}")
    builder = kind.make(tuple(source.absolute() for source in request.sources), parameters)  # workers may stand elsewhere
    rule = _split_rule(request.split, builder)
    drifts: list[StoreDrift] = []

    def admit(current: Path, version: Path) -> None:
        if request.drift is not None:
            drifts.append(refuse_drift(current, version, request.drift))

    with (
        executor_of(request.workers) as executor,
        ProgressLine(f"build {request.builder}", request.layout.num_buckets, "buckets") as progress,
    ):
        made = build_dataset(
            builder,
            request.out.absolute(),
            rule,
            layout=request.layout,
            executor=executor,
            progress=progress,
            admit=admit,
            describe=lambda store: write_card(store, request.about),
        )
    return replace(made, drift=drifts[0] if drifts else None, hints=_hints(request.split, rule, builder, made))


def _refuse_store_in_source(request: BuildRequest) -> None:
    out = request.out.resolve()
    for source in request.sources:
        if source.resolve() in (out, *out.parents):
            raise UsageError(
                f"The store {request.out} lies in the source {source}, which would change by it",
                remedy="Choose a place outside the source",
            )


def tell_build(made: BuildSummary) -> str:
    """The counts, for people."""
    counts = ", ".join(f"{made.counts.get(split, 0)} {split}" for split in SPLITS)
    reasons = ", ".join(f"{count} {reason}" for reason, count in made.rejected.items())
    told = f"{counts} pairs; rejected {sum(made.rejected.values())}" + (f" ({reasons})" if reasons else "")
    told += f"; {made.num_moved} moved to the split of a near duplicate" if made.num_moved else ""
    empty = [split for split in SPLITS if not made.counts.get(split)]
    return told + (
        f"; nothing in {' and '.join(empty)}: another --split, --fractions, --block-px or --seed may help" if empty else ""
    )


def _hints(asked: SplitRequest, rule: SplitRule, builder: PairBuilder[Any], made: BuildSummary) -> tuple[str, ...]:
    found = []
    if isinstance(builder, FoldersBuilder | FramesBuilder):
        encodings = builder.input_encoding, builder.target_encoding
        endings = (builder.parameters.input_suffix, builder.parameters.target_suffix)
        if isinstance(builder, FramesBuilder):
            places, endings = builder.places, ("", "")  # those are of clips' names
        else:
            places = builder.directories if len(builder.directories) == 2 else ()
        for place, *of_side in zip(places, endings, encodings, ROLES, strict=False):
            found.append(hint_of_classes(place, *of_side))
    if isinstance(rule, NameSplit | SourceSplit) and asked.group_by is None:
        found.append(hint_of_frames(PairStore.open(made.version_path)))
    if isinstance(rule, GroupSplit):
        found.append(hint_of_groups(PairStore.open(made.version_path), rule.by))
    if isinstance(rule, LatitudeSplit) and asked.buffer_px is None:
        found.append(hint_of_buffer(made.rejected.get("buffer", 0), sum(made.counts.values()), rule.buffer_px))
    return tuple(filter(None, found))


def one_of_each_reason(made: BuildSummary) -> tuple[RejectedRecord, ...]:
    """The first rejected item of each reason; the store's table `rejected.parquet` has all of them."""
    first: dict[str, RejectedRecord] = {}
    for rejected in PairStore.open(made.version_path).rejected:
        first.setdefault(rejected.reason, rejected)
    return tuple(first.values())


def builder_kind(name: str) -> BuilderKind:
    """The builder of this name. Raises `UsageError` for a name nobody knows."""
    if name not in BUILDERS:
        raise UsageError(f"There is no builder {name!r}", remedy=f"Use one of: {', '.join(BUILDERS)}")
    return BUILDERS[name]


def _split_rule(request: SplitRequest, builder: PairBuilder[Any]) -> SplitRule:
    rule = _bare_rule(request, builder)
    # Stripes from dark to light look nearly the same to a fingerprint, whatever their colours.
    usual = "keep" if isinstance(builder, PaletteBuilder) else rule.near_duplicates
    policy = request.near_duplicates or usual
    if policy == "move" and isinstance(rule, BlockSplit | LatitudeSplit):
        raise UsageError(
            f"A split by {rule.kind} goes by ground, which near duplicates cannot leave",
            remedy="Use --near-duplicates reject or keep",
        )
    return replace(rule, near_duplicates=policy, min_similarity=request.min_similarity)


def _bare_rule(request: SplitRequest, builder: PairBuilder[Any]) -> SplitRule:
    if request.group_by not in (None, "none") and request.kind not in ("name", "source"):
        raise UsageError(f"A split by {request.kind} knows no groups of names", remedy="Leave out --group-by, or --split name")
    if request.kind == "directory" and request.fractions:
        raise UsageError("Directories decide the shares of a split by directory", remedy="Leave out --fractions")
    if request.kind in ("name", "source", "directory"):
        return _groundless_split(request, builder)
    if not isinstance(builder, MapsBuilder | TilesBuilder | ScenesBuilder):
        raise UsageError(
            f"Builder {builder.name} makes pairs without a place, which cannot be split by {request.kind}",
            remedy="Use --split name, source or directory",
        )
    reserved = tuple(builder.window_around(bounds) for bounds in request.reserved)
    if request.kind == "latitude":
        return _latitude_split(request, builder, reserved)
    return BlockSplit(
        area=builder.area(),
        block_px=request.block_px,
        buffer_px=request.buffer_px or 0,
        fractions=request.fractions or Fractions(),
        seed=request.seed,
        reserved=reserved,
        wraps=request.wraps,
        ground=builder.ground() if isinstance(builder, ScenesBuilder) else (),
    )


def _groundless_split(
    request: SplitRequest, builder: PairBuilder[Any]
) -> NameSplit | SourceSplit | GroupSplit | DirectorySplit:
    if request.reserved or request.buffer_px:
        raise UsageError(
            f"A split by {request.kind} knows no ground: it would ignore what is to be reserved or left out",
            remedy="Split by block or latitude, or leave out --reserve and --buffer-px",
        )
    if request.kind == "directory":
        return DirectorySplit()
    fractions = request.fractions or Fractions()
    if request.group_by not in (None, "none"):
        return GroupSplit(by=request.group_by, fractions=fractions, seed=request.seed)
    if request.kind == "source":
        return SourceSplit(fractions=fractions, seed=request.seed)
    for kind, of_one, parts in ((FramesBuilder, "clip", "frames"), (PlainTilesBuilder, "picture", "tiles")):
        if isinstance(builder, kind):
            raise UsageError(
                f"A split by name would put {parts} of one {of_one}, which are nearly the same picture, into several splits",
                remedy="Split by source or by directory",
            )
    return NameSplit(fractions=fractions, seed=request.seed)


def _latitude_split(request: SplitRequest, builder: PlacedTiles, reserved: tuple[Window, ...]) -> LatitudeSplit:
    if request.wraps:
        raise UsageError("Bands of latitude go round the globe by themselves", remedy="Leave out `wraps`, or split by block")
    fractions = request.fractions or PAPER_FRACTIONS
    return latitude_split(builder, fractions=fractions, buffer_px=request.buffer_px, reserved=reserved)
