"""Raw sources for every recipe, of 64 px, cut from scikit-image's photos and drawn over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from p2p_core.palettes import palette
from preprocessing.palette import stripes

Pixels = NDArray[np.uint8]
Draw = Callable[[Pixels], NDArray[np.generic]]

SIDE_PX = 64
PLACES = [(split, k) for split, count in (("train", 8), ("val", 2), ("test", 2)) for k in range(count)]


def crop(i: int) -> Pixels:
    """Photo `i` of the twelve."""
    whole = (skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea)[i % 3]()
    return np.ascontiguousarray(whole[60 + 8 * i : 124 + 8 * i, 100 + 16 * i : 164 + 16 * i])


def gray(photo_HWC: Pixels) -> Pixels:
    return cv2.cvtColor(photo_HWC, cv2.COLOR_RGB2GRAY)


def classes(name: str) -> Draw:
    """Brightness as so many classes, in their colours."""
    colours = palette(name)
    return lambda photo_HWC: colours.colours_of(gray(photo_HWC).astype(int) * len(colours) // 256)


def edges(photo_HWC: Pixels) -> Pixels:
    return 255 - cv2.Canny(photo_HWC, 60, 120)


def night(photo_HWC: Pixels) -> Pixels:
    return (photo_HWC * np.array([0.2, 0.25, 0.45])).astype(np.uint8)


def thermal(photo_HWC: Pixels) -> Pixels:
    return cv2.GaussianBlur(255 - photo_HWC[..., 0], (7, 7), 2)


def thermal_16(photo_HWC: Pixels) -> NDArray[np.uint16]:
    return thermal(photo_HWC).astype(np.uint16) * 200 + 3000


def mask(photo_HWC: Pixels) -> Pixels:
    return np.where(gray(photo_HWC) > 110, 255, 0).astype(np.uint8)


def landmarks(photo_HWC: Pixels) -> Pixels:
    """The picture's strongest corners as white dots on black."""
    drawn_HW = np.zeros(photo_HWC.shape[:2], np.uint8)
    for x, y in cv2.goodFeaturesToTrack(gray(photo_HWC), 12, 0.01, 4)[:, 0].astype(int):
        cv2.circle(drawn_HW, (int(x), int(y)), 2, 255, -1)
    return drawn_HW


def plain_map(photo_HWC: Pixels) -> Pixels:
    return (cv2.GaussianBlur(photo_HWC, (9, 9), 3) // 32 * 32 + 16).astype(np.uint8)


def photo(photo_HWC: Pixels) -> Pixels:
    return photo_HWC


def pictures(draw: Draw) -> Callable[[Path], Path]:
    """A directory of pictures, under train, val and test."""

    def make(place: Path) -> Path:
        for i, (split, k) in enumerate(PLACES):
            (place / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw(crop(i))).save(place / split / f"{k}.png")
        return place

    return make


def halves(left: Draw, right: Draw) -> Callable[[Path], Path]:
    """Pictures with both halves side by side."""

    def both(photo_HWC: Pixels) -> Pixels:
        pixels = [np.asarray(Image.fromarray(draw(photo_HWC)).convert("RGB")) for draw in (left, right)]
        return np.concatenate(pixels, axis=1)

    return pictures(both)


def moving(i: int, frame: int) -> Pixels:
    """Frame `frame` of clip `i`: the view pans."""
    whole = (skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea)[i % 3]()
    return np.ascontiguousarray(whole[60:124, 100 + 60 * i + 8 * frame : 164 + 60 * i + 8 * frame])


def frames_of(draw: Draw) -> Callable[[Path], Path]:
    """Clips as directories of numbered pictures, under train, val and test."""

    def make(place: Path) -> Path:
        for i, split in enumerate(("train", "val", "test")):
            (place / split / "clip").mkdir(parents=True)
            for frame in range(8):
                Image.fromarray(draw(moving(i, frame))).save(place / split / "clip" / f"{frame + 1:03d}.png")
        return place

    return make


def videos(place: Path) -> Path:
    """The same clips as videos."""
    for i, split in enumerate(("train", "val", "test")):
        (place / split).mkdir(parents=True)
        writer = cv2.VideoWriter(str(place / split / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25, (SIDE_PX, SIDE_PX))
        for frame in range(8):
            writer.write(moving(i, frame)[..., ::-1])
        writer.release()
    return place


def ground(draw: Draw) -> Callable[[Path], Path]:
    """A GeoTIFF of 320 px; its directory is made for it."""

    def make(place: Path) -> Path:
        place.mkdir(parents=True)
        return save_geotiff(place / "ground.tif", draw(np.ascontiguousarray(skimage.data.astronaut()[:320, :320])))

    return make


def save_geotiff(path: Path, pixels_HWC: NDArray[np.generic]) -> Path:
    place = {"crs": "EPSG:32618", "transform": rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)}
    size = {"count": pixels_HWC.shape[2], "height": pixels_HWC.shape[0], "width": pixels_HWC.shape[1]}
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", **place, **size) as tiff:
        tiff.write(np.moveaxis(pixels_HWC, -1, 0))
    return path


OF_ALL = {
    "PHOTOS": pictures(photo),
    "FRAMES": pictures(photo),
    "VIDEOS": videos,
    "MAP": ground(plain_map),
    "AERIAL": ground(photo),
}
STREET = {
    name: {"LABELS": pictures(classes(name)), "PICTURES": halves(photo, classes(name))} for name in ("cityscapes", "camvid")
}
FACADES = {"FACADES": halves(photo, classes("facades")), "LABELS": pictures(classes("facades"))}
EDGES = {"PICTURES": halves(photo, edges)}
SOURCES: dict[str, dict[str, Callable[[Path], Path]]] = {
    "facades": FACADES,
    "facades_to_labels": FACADES,
    **{f"{name}{way}": sources for name, sources in STREET.items() for way in ("", "_to_labels")},
    "maps": {"MAPS": halves(photo, plain_map)},
    "edges2shoes": EDGES,
    "edges2handbags": EDGES,
    "sketches": {"DRAWINGS": pictures(edges)},
    "colorization": {},
    "day2night": {"DAYS": pictures(photo), "NIGHTS": pictures(night)},
    "thermal": {"THERMAL": frames_of(thermal), "VISIBLE": videos},
    "thermal folders": {"THERMAL": pictures(thermal_16), "VISIBLE": pictures(photo)},
    "holes": {},
    "landmarks": {"DRAWN": frames_of(landmarks)},
    "landmarks folders": {"DRAWN": pictures(landmarks)},
    "masks": {"MASKS": pictures(mask)},
    "masks frames": {"MASKS": frames_of(mask)},
    "palette": {"PICTURES": pictures(photo)},
    "world": {"PICTURES": halves(plain_map, photo)},
}


@pytest.fixture(scope="session")
def source_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, str], Path]:
    """(recipe, builder, word in capitals of the command that builds its pairs) -> the source that stands for the word."""
    root = tmp_path_factory.mktemp("raw")

    def source(recipe: str, builder: str, word: str) -> Path:
        own = SOURCES.get(f"{recipe} {builder}", SOURCES[recipe])
        make = {**OF_ALL, **own}[word]
        place = root / (recipe if word in own else "all") / builder / word
        return make(place) if not place.exists() else place / "ground.tif" if word in ("MAP", "AERIAL") else place

    return source


@pytest.fixture(scope="session")
def raw_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A recipe -> one file as somebody would have it at hand, to translate: none of the pairs was made of it."""
    root = tmp_path_factory.mktemp("at_hand")
    at_hand = np.ascontiguousarray(skimage.data.astronaut()[80:160, 176:272])  # a face, 96x80 px
    with_hole = at_hand.copy()
    with_hole[20:60, 24:72] = 128
    colours_KC = np.array([(20, 30, 60), (128, 128, 128), (200, 60, 50), (128, 128, 128), (250, 240, 200)], np.uint8)
    drawn: dict[str, NDArray[np.generic]] = {
        **{name: classes(name)(at_hand) for name in ("facades", "cityscapes", "camvid")},
        "world": plain_map(at_hand),
        "edges2shoes": edges(at_hand),
        "edges2handbags": np.concatenate([at_hand, np.repeat(edges(at_hand)[..., np.newaxis], 3, -1)], axis=1)[:, 96:],
        "sketches": sketch(),
        "colorization": gray(at_hand),
        "thermal": thermal(at_hand),
        "holes": with_hole,
        "landmarks": landmarks(at_hand),
        "palette": stripes(colours_KC, (80, 100)),
    }

    def file(recipe: str) -> Path:
        if recipe == "maps":
            return save_geotiff(root / "maps.tif", plain_map(at_hand))
        path, picture = root / f"{recipe}.png", Image.fromarray(drawn.get(recipe, at_hand))
        # A label picture as tools write it: indices, and their colours in the file.
        (picture.quantize(len(palette("camvid"))) if recipe == "camvid" else picture).save(path)
        return path

    return file


def sketch() -> Pixels:
    """A shoe, as somebody draws it with a thick soft pen: RGB, 120x80 px."""
    paper_HWC = np.full((80, 120, 3), 250, np.uint8)
    outline = np.array([(8, 30), (30, 26), (44, 40), (80, 50), (110, 56), (112, 68), (10, 68)], np.int32)
    cv2.polylines(paper_HWC, [outline], True, (30, 30, 40), 3, cv2.LINE_AA)
    for x in (50, 60, 70):
        cv2.line(paper_HWC, (x, 44), (x - 6, 52), (30, 30, 40), 2, cv2.LINE_AA)
    return paper_HWC
