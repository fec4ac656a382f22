"""`p2p build` and `p2p verify`: pair stores, and whether what lies on disk is what was written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from flows.cli.options import AsJson, SchedulerAddress, Settings, print_json

__all__ = ["build", "verify"]


def build(
    builder: Annotated[
        Literal["edges", "maps", "colour", "gray", "labels", "holes", "palette", "folders", "frames"],
        typer.Argument(metavar="BUILDER", help="One of those above."),
    ],
    sources: Annotated[list[Path], typer.Argument(metavar="SOURCE...", help="What the builder takes, in its order.")],
    out: Annotated[Path, typer.Option(metavar="STORE", help="The pair store; new, or an earlier version of it.")],
    split: Annotated[
        Literal["auto", "name", "source", "directory", "block", "latitude"],
        typer.Option(
            help="How pairs are shared out. auto: block for maps; for the others, directory where train/ is there;"
            " else source, clip by clip, for frames. latitude: as the paper split its maps, from north to south train, val and,"
            " beyond the median of the tiles, test."
        ),
    ] = "auto",
    block_px: Annotated[int, typer.Option(min=1, help="Side of a geographic block, in target pixels.")] = 1024,
    buffer_px: Annotated[
        int | None,
        typer.Option(
            min=0, help="Ground left out on each side of where two splits meet; for latitude half a tile unless given, else 0."
        ),
    ] = None,
    fractions: Annotated[
        str | None,
        typer.Option(metavar="TRAIN,VAL,TEST", help="Their shares: 0.8,0.1,0.1 unless given; for latitude 0.4,0.1,0.5."),
    ] = None,
    reserve: Annotated[
        list[str] | None, typer.Option(metavar="W,S,E,N", help="Ground no pair may touch, in the target's CRS. Repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, another split; not for latitude and directory.")] = 0,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="prefix|directory|REGEX|none",
            help="What lies in one split together, by names. prefix: what stands before their last number, as in frames of one"
            " clip, 0001TP_006690; prefix:100: that, in stretches of 100 numbers; directory; or what the parentheses of a"
            " regular expression match. With none, no hint tells of frames on both sides.",
        ),
    ] = None,
    near_duplicates: Annotated[
        Literal["auto", "move", "reject", "keep"],
        typer.Option(
            help="Pairs that show nearly the same in several splits: move brings them to one, reject leaves one of each. auto:"
            " move for name and directory, but not of palettes; keep for source, block and latitude."
        ),
    ] = "auto",
    min_similarity: Annotated[
        float, typer.Option(min=0.05, max=1, help="Nearly the same; 0.65 also finds one shoe in two colours.")
    ] = 0.8,
    settings: Settings = None,
    about: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="For the card: title, description, licence, creator, cite_as, url or date_published. Changes no byte of the"
            " dataset. Repeatable.",
        ),
    ] = None,
    check_drift: Annotated[
        bool,
        typer.Option(
            "--check-drift",
            help="Keep a version that drifted beyond limits from the current one, but do not make it current, and exit 1."
            " --set drift.NAME=VALUE changes a limit; `p2p drift` names and measures them.",
        ),
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes; 0 builds in this one. Changes no byte.")] = 0,
    scheduler: SchedulerAddress = None,
) -> None:
    """Build a pair store from raw images; run again, it rebuilds only what changed. STORE/card describes it.

    \b
    edges    PHOTO_DIR                    HED edges of photos -> the photos; HED weights may follow, if not the installed
    maps     INPUT_RASTER TARGET_RASTER   two rasters of the same ground, cut into tiles on the target's grid, whatever the
                                          input's CRS; two XYZ trees z/x/y.png, paired address by address; two directories
                                          of scenes with the same names; or one of side-by-side pictures, cut to tiles. One
                                          of two rasters may be a vector map (GeoJSON, TopoJSON, a style file of
                                          layers): it is drawn on the other's grid
    colour   PHOTO_DIR                    photos -> L and ab of their colours (Lab): a model will colour gray photos
    gray     PHOTO_DIR                    photos in gray -> the photos
    labels   PHOTO_DIR LABEL_DIR          label pictures of a palette -> photos, or the other way (--set direction=...)
    holes    PHOTO_DIR                    photos with a hole -> the photos: in the centre, or by chance (--set hole=random)
    palette  PICTURE_DIR                  five dominant colours as stripes, some of them missing -> all of them
    folders  INPUT_DIR TARGET_DIR         pictures with the same names; or one DIR of side-by-side pictures
    frames   INPUT_DIR TARGET_DIR         clips with the same names, frame by frame. A clip is a video, or a directory of
                                          numbered pictures: landmarks or masks of a video's frames, say

    \b
    Examples:
      p2p build edges photos/ --out pairs --set resize_px=[256,256] --workers 2
      p2p build maps map.tif aerial.tif --out pairs --set tile_px=256 --block-px 2048
      p2p build maps map.tif aerial.tif --out pairs --split latitude --buffer-px 300
      p2p build maps map.tif aerial.tif --out pairs --set quality.max_shift_px=3   # leaves out misregistered pairs
      p2p build maps osm-tiles/ aerial-tiles/ --out pairs --set zoom=17 --block-px 2048 --buffer-px 256
      p2p build maps countries.topojson aerial.tif --out pairs --set quality.min_std=0   # keeps tiles of one colour
      p2p build maps maps/train --out pairs --set input_side=right --set tile_px=256
      p2p build folders A/ B/ --out pairs --set input_suffix=_A --set target_suffix=_B
      p2p build folders facades/ --out pairs --set resize_px=[256,256] --set jitter_px=30
      p2p build labels frames/ masks/ --out pairs --set palette=camvid --group-by prefix   # a clip's frames stay together
      p2p build labels train/ trainannot/ --out pairs --set palette=camvid --set resize_px=[256,256]
      p2p build holes photos/ --out pairs --set area_share=0.25
      p2p build holes photos/ --out pairs --set hole=random --set area_share=0.3 --set seed=7 --set fill=[255,255,255]
      p2p build palette photos/ --out pairs --set num_missing=3
      p2p build folders facades/ --out pairs --set input_side=right --about licence=CC-BY-4.0 --about "title=Facades"
      p2p build frames thermal/ visible/ --out pairs --set every_s=0.5
      p2p build folders facades/ --out pairs --check-drift --set drift.mean_shift=0.5
      p2p build frames landmarks/ videos/ --out pairs --set first_number=0

    \b
    Sizes:       resize_px=[height,width], or null for the pictures' own; fit=crop, stretch or pad (pad_fill=[128,128,128]);
                 crop_px=[height,width] after that; jitter_px=30 leaves training room to crop, 286 px for 256.
    Names:       input_suffix, target_suffix of folders, frames and maps, photo_suffix, label_suffix of labels: how names end.

    \b
    Of maps:     tile_px and stride_px, in the target's pixels; bounds=[west,south,east,north] in its CRS, the part to use;
                 ground_crs=EPSG:32633 of many scenes, zoom of XYZ trees, max_nodata_fraction, water={}.
    Of frames:   match=time or number; every_s, seconds from pair to pair; pictures_fps and first_number of numbered pictures.

    \b
    Of holes:    hole=centre, rectangles, strokes or random (both). area_share is of the picture's pixels: 0.25 is a centre of
                 half its height and half its width.
    Of palette:  num_missing=1 to 4 of the stripes, which lie from dark to light.
    Of both:     fill=[red,green,blue], mid grey if not given. seed and the photo's name decide what is taken away.

    Every parameter with its default and unit is in docs/parameters.md.
    """
    from flows.cli.building import (
        about_dataset,
        builder_parameters,
        drift_limits,
        fitting_split,
        parse_bounds,
        parse_fractions,
    )
    from flows.stages.build import BuildRequest, SplitRequest, one_of_each_reason, tell_build
    from flows.stages.build import build as build_stage
    from flows.stages.executors import Workers

    request = BuildRequest(
        builder=builder,
        sources=tuple(sources),
        out=out,
        parameters=builder_parameters(builder, len(sources), settings or ()),
        split=SplitRequest(
            kind=fitting_split(builder, sources, group_by) if split == "auto" else split,
            fractions=None if fractions is None else parse_fractions(fractions),
            group_by=group_by,
            seed=seed,
            block_px=block_px,
            buffer_px=buffer_px,
            reserved=tuple(parse_bounds(text) for text in reserve or ()),
            near_duplicates=None if near_duplicates == "auto" else near_duplicates,
            min_similarity=min_similarity,
        ),
        workers=Workers(count=workers, scheduler=scheduler),
        about=about_dataset(about or ()),
        drift=drift_limits(check_drift, settings or ()),
    )
    made = build_stage(request)
    print(f"{out}: {tell_build(made)}{'; unchanged' if made.unchanged else ''}\ndataset {made.digest}")
    for hint in made.hints:
        print(f"hint: {hint}")
    for rejected in one_of_each_reason(made):
        print(f"rejected as {rejected.reason}, for one: {rejected.item}: {rejected.detail}")


def verify(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="STORE|PICTURES|BUNDLE|OUTPUT", help="Which of them it is, it finds out. A store may be STORE@VERSION."
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Re-hash everything against its manifest and name each bad file. Exit 1 if there is any.

    \b
    Examples:
      p2p verify pairs
      p2p verify pairs@3f2a91
      p2p verify pictures            # of p2p export --to folders
      p2p verify run/bundle
      p2p verify scene --json
    """
    from flows.verify import verify_any
    from p2p_core.pairstore.versions import named_version

    path = named_version(path)
    kind, problems = verify_any(path)
    if as_json:
        print_json({"path": path, "kind": kind, "problems": [{"path": p.path, "what": p.what} for p in problems]})
    else:
        for problem in problems:
            print(f"{path / problem.path} {problem.what}")
        print(f"{path}: {kind}, {f'{len(problems)} bad' if problems else 'every file is what was written'}")
    if problems:
        raise typer.Exit(1)
