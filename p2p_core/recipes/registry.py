"""Every recipe by its name, with the pair stores it is for and the commands that build them."""

from __future__ import annotations

from p2p_core.encodings import encoding
from p2p_core.errors import StoreError, UsageError
from p2p_core.pairstore.manifest import DatasetSpec
from p2p_core.recipes.community import landmarks, masks, palette, sketches
from p2p_core.recipes.ground import maps, world
from p2p_core.recipes.labels import camvid, camvid_to_labels, cityscapes, cityscapes_to_labels, facades, facades_to_labels
from p2p_core.recipes.photos import colorization, day2night, edges2handbags, edges2shoes, holes, thermal
from p2p_core.recipes.recipe import Recipe, StoreKind
from p2p_core.training.config import RunConfig

__all__ = ["RECIPES", "recipe", "recipe_for"]

_RGB, _DRAWN, _ANY = ("rgb",), ("gray", "rgb"), ("*",)
_CLASSES = ("one_hot:*", "palette:*")
_ROOM = "--set resize_px=[256,256] --set jitter_px=30"
_WHOLE = f"--set fit=stretch {_ROOM}"


def _street(palette_name: str) -> tuple[StoreKind, ...]:
    classes = f"one_hot:{palette_name}", f"palette:{palette_name}"
    return (
        StoreKind("labels", classes, _RGB, f"PHOTOS LABELS --out pairs --set palette={palette_name} {_WHOLE}"),
        StoreKind(
            "folders",
            (*classes, "rgb"),
            _RGB,
            f"PICTURES --out pairs --set input_side=right --set input_encoding=one_hot:{palette_name} {_ROOM}",
        ),
    )


def _street_to_labels(palette_name: str) -> tuple[StoreKind, ...]:
    classes = f"one_hot:{palette_name}", f"palette:{palette_name}"
    turned = f"--set palette={palette_name} --set direction=photo_to_labels"
    return (
        StoreKind("labels", _RGB, classes, f"PHOTOS LABELS --out pairs {turned} {_WHOLE}"),
        StoreKind("folders", _RGB, classes, f"PICTURES --out pairs --set target_encoding=one_hot:{palette_name} {_ROOM}"),
    )


_EDGES = (
    StoreKind("edges", ("gray",), _RGB, "PHOTOS --out pairs"),
    StoreKind("folders", _DRAWN, _RGB, "PICTURES --out pairs --set input_side=right"),
)

RECIPES: dict[str, Recipe] = {
    "facades": Recipe(
        facades,
        "labels -> facade",
        (
            StoreKind(
                "folders",
                ("rgb", *_CLASSES),
                _RGB,
                f"FACADES --out pairs --set input_side=right --set input_encoding=one_hot:facades {_ROOM}",
            ),
            StoreKind("labels", _CLASSES, _RGB, f"PHOTOS LABELS --out pairs --set palette=facades {_ROOM}"),
        ),
    ),
    "facades_to_labels": Recipe(
        facades_to_labels,
        "facade -> labels",
        (
            StoreKind("folders", _RGB, _CLASSES, f"FACADES --out pairs --set target_encoding=one_hot:facades {_ROOM}"),
            StoreKind(
                "labels",
                _RGB,
                _CLASSES,
                f"PHOTOS LABELS --out pairs --set palette=facades --set direction=photo_to_labels {_ROOM}",
            ),
        ),
    ),
    "cityscapes": Recipe(cityscapes, "labels -> street", _street("cityscapes")),
    "cityscapes_to_labels": Recipe(cityscapes_to_labels, "street -> labels", _street_to_labels("cityscapes")),
    "camvid": Recipe(camvid, "labels -> street, CamVid", _street("camvid")),
    "camvid_to_labels": Recipe(camvid_to_labels, "street -> labels, CamVid", _street_to_labels("camvid")),
    "maps": Recipe(
        maps,
        "map <-> aerial, either way",
        (
            StoreKind("maps", _ANY, _ANY, "MAP AERIAL --out pairs --set tile_px=286 --split latitude"),
            StoreKind("folders", _ANY, _ANY, "MAPS --out pairs --set input_side=right"),
        ),
    ),
    "edges2shoes": Recipe(edges2shoes, "edges, sketch -> shoe", _EDGES),
    "edges2handbags": Recipe(edges2handbags, "edges, sketch -> handbag", _EDGES),
    "sketches": Recipe(
        sketches,
        "sketch -> cat, Pokemon, from few photos",
        (
            StoreKind("edges", ("gray",), _RGB, "PHOTOS --out pairs --set jitter_px=30"),
            StoreKind("folders", _DRAWN, _RGB, f"DRAWINGS PHOTOS --out pairs {_ROOM}"),
        ),
    ),
    "colorization": Recipe(
        colorization,
        "gray -> colour",
        (
            StoreKind("colour", ("lab_l",), ("lab_ab",), "PHOTOS --out pairs"),
            StoreKind("gray", ("gray",), _RGB, "PHOTOS --out pairs"),
        ),
    ),
    "day2night": Recipe(
        day2night,
        "day -> night, or back",
        (StoreKind("folders", _RGB, _RGB, f"DAYS NIGHTS --out pairs --split directory {_ROOM}"),),
    ),
    "thermal": Recipe(
        thermal,
        "thermal -> colour",
        (
            StoreKind("frames", _DRAWN, _RGB, "THERMAL VISIBLE --out pairs --set input_encoding=gray --set jitter_px=30"),
            StoreKind(
                "folders",
                (*_DRAWN, "bands:1:*"),
                _RGB,
                f"THERMAL VISIBLE --out pairs --set input_encoding=bands:1:uint16 {_ROOM}",
            ),
        ),
    ),
    "holes": Recipe(holes, "hole -> filled", (StoreKind("holes", _RGB, _RGB, "PHOTOS --out pairs"),)),
    "landmarks": Recipe(
        landmarks,
        "landmarks -> face, person-to-person video",
        (
            StoreKind("frames", (*_DRAWN, *_CLASSES), _RGB, "DRAWN VIDEOS --out pairs --set jitter_px=30"),
            StoreKind("folders", (*_DRAWN, *_CLASSES), _RGB, f"DRAWN FRAMES --out pairs {_ROOM}"),
        ),
    ),
    "masks": Recipe(
        masks,
        "portrait -> mask",
        (
            StoreKind(
                "labels",
                _RGB,
                _CLASSES,
                "PHOTOS MASKS --out pairs --set palette=000000-ffffff --set by_index=false --set direction=photo_to_labels",
            ),
            StoreKind("folders", _RGB, (*_CLASSES, "gray"), f"PHOTOS MASKS --out pairs --set target_encoding=gray {_ROOM}"),
            StoreKind("frames", _RGB, (*_CLASSES, "gray"), "VIDEOS MASKS --out pairs --set target_encoding=gray"),
        ),
    ),
    "palette": Recipe(
        palette, "palette with gaps -> whole palette", (StoreKind("palette", _RGB, _RGB, "PICTURES --out pairs"),)
    ),
    "world": Recipe(
        world,
        "relief map -> Blue Marble, in minutes on a CPU",
        (
            StoreKind("maps", _RGB, _RGB, "MAP AERIAL --out pairs --set tile_px=128 --set stride_px=64 --block-px 300"),
            StoreKind("folders", _RGB, _RGB, "PICTURES --out pairs"),
        ),
    ),
}


def recipe(name: str) -> RunConfig:
    """The configuration of this recipe, for RGB. Raises `UsageError` for a name nobody knows."""
    return _known(name).make()


def recipe_for(name: str, store: DatasetSpec) -> RunConfig:
    """The recipe with networks as wide as the store's encodings.

    Raises:
        UsageError: nobody knows the name.
        StoreError: the recipe is not for stores of this builder and these encodings; says how to build one that is.
    """
    wanted = _known(name)
    if not wanted.fits(store):
        fitting = [other for other, known in RECIPES.items() if known.fits(store)]
        instead = f", or train {' or '.join(fitting)} on this store" if fitting else ""
        raise StoreError(
            f"Recipe {name} ({wanted.task}) is for stores of {', or '.join(map(str, wanted.stores))};"
            f" this one is of `{store.builder}`, {store.input_encoding} -> {store.target_encoding}",
            remedy=f"Build one: {wanted.stores[0].build_command}{instead}",
        )
    channels = (encoding(kind).channels for kind in (store.input_encoding, store.target_encoding))
    return wanted.make().for_channels(*channels)


def _known(name: str) -> Recipe:
    if name not in RECIPES:
        raise UsageError(f"Unknown recipe {name!r}", remedy=f"Use one of: {', '.join(RECIPES)}")
    return RECIPES[name]
