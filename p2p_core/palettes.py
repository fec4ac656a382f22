"""Palettes: the classes of a label picture and the colours they are shown in.

Stores and bundles name their palette, so an entry of `PALETTES` is never changed once released; a new one gets a new name.
A palette may also be its colours themselves, `000000-ff0000-...`, and then describes itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import ConfigError

__all__ = ["LABEL_IDS", "OTHER_COLOURS", "PALETTES", "Palette", "in_own_colours", "palette"]

Colour = tuple[int, int, int]
_COLOURS = re.compile(r"[0-9a-f]{6}(-[0-9a-f]{6})+", re.IGNORECASE)
_AT_ONCE = 1 << 16  # pixels whose distances to all colours are held at one time
_MAX_CLASSES = 64
_CODE = np.array([1 << 16, 1 << 8, 1])


@dataclass(frozen=True)
class Palette:
    """Class k is called `names[k]` and shown as `colours[k]`."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]

    def __len__(self) -> int:
        return len(self.colours)

    @property
    def void(self) -> int | None:
        """The class of pixels that belong to none; None where there is no such class."""
        return self.names.index("void") if "void" in self.names else None

    @property
    def is_gray(self) -> bool:
        """Whether every colour is a gray, so that a picture of one band can show it."""
        return all(red == green == blue for red, green, blue in self.colours)

    def classes_of(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(..., 3) -> (...): the class whose colour is nearest in RGB; of equally near ones the first."""
        flat = rgb.reshape(-1, 3)
        classes = np.empty(len(flat), dtype=np.uint8)
        for start in range(0, len(flat), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            classes[part] = self.distances(flat[part]).argmin(axis=1)
        return classes.reshape(rgb.shape[:-1])

    def distances(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(N, 3) -> (N, classes): squared, to each class's colour, less the squared length that all of a pixel's have."""
        # Whole numbers below 2^24, so float32 holds them exactly.
        distances: NDArray[np.float32] = self._norms - 2 * (rgb.astype(np.float32) @ self._table.T)
        return distances

    def colours_of(self, classes: NDArray[np.integer]) -> NDArray[np.uint8]:
        """(...) classes -> (..., 3) pixels."""
        rgb: NDArray[np.uint8] = self._table.astype(np.uint8)[classes]
        return rgb

    def snap(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(..., 3) -> (..., 3): every pixel in the nearest colour of the palette."""
        return self.colours_of(self.classes_of(rgb))

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        return np.array(self.colours, dtype=np.float32)

    @cached_property
    def _norms(self) -> NDArray[np.float32]:
        norms: NDArray[np.float32] = np.square(self._table).sum(axis=1)
        return norms


def palette(name: str) -> Palette:
    """The palette of this name, or of the colours that the name spells.

    Raises:
        ConfigError: nobody knows the name, or the colours are less than 2, more than 64, or not all different.
    """
    if name in PALETTES:
        return PALETTES[name]
    if not _COLOURS.fullmatch(name):
        raise ConfigError(
            f"Unknown palette {name!r}", remedy=f"Use one of: {', '.join(PALETTES)}; or two or more colours: 000000-ff0000"
        )
    spelt = name.lower().split("-")
    if len(set(spelt)) != len(spelt) or len(spelt) > _MAX_CLASSES:
        problem = f"has {len(spelt)} colours" if len(set(spelt)) == len(spelt) else "names a colour twice"
        raise ConfigError(f"Palette {name!r} {problem}", remedy=f"Give 2 to {_MAX_CLASSES} different colours")
    return Palette(tuple(spelt), tuple((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in spelt))


def in_own_colours(rgb: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """(..., 3) -> (..., 3): pixels of exactly one of the palette's `OTHER_COLOURS` in the colour of the class it belongs to."""
    own = palette(name)
    result = rgb.copy()
    codes = rgb.astype(np.int32) @ _CODE
    for colour, class_name in OTHER_COLOURS.get(name, {}).items():
        result[codes == np.dot(colour, _CODE)] = own.colours[own.names.index(class_name)]
    return result


def _of(*classes: tuple[str, Colour]) -> Palette:
    return Palette(tuple(name for name, _ in classes), tuple(colour for _, colour in classes))


PALETTES: dict[str, Palette] = {
    # CMP Facades as pix2pix hands them out: every fifth of MATLAB's jet(64), beginning with the sixth. Found from the label
    # halves: 64 % of their pixels lie within 8 levels of one of these. The order of classes is the data set's own.
    "facades": _of(
        ("background", (0, 0, 223)),
        ("facade", (0, 48, 255)),
        ("window", (0, 128, 255)),
        ("door", (0, 207, 255)),
        ("cornice", (32, 255, 223)),
        ("sill", (112, 255, 143)),
        ("balcony", (191, 255, 64)),
        ("blind", (255, 239, 0)),
        ("deco", (255, 159, 0)),
        ("molding", (255, 80, 0)),
        ("pillar", (255, 0, 0)),
        ("shop", (175, 0, 0)),
    ),
    # The 11 classes of SegNet (Badrinarayanan et al., 2015) and void, with the indices and colours of SegNet-Tutorial.
    "camvid": _of(
        ("sky", (128, 128, 128)),
        ("building", (128, 0, 0)),
        ("pole", (192, 192, 128)),
        ("road", (128, 64, 128)),
        ("pavement", (60, 40, 222)),
        ("tree", (128, 128, 0)),
        ("sign", (192, 128, 128)),
        ("fence", (64, 64, 128)),
        ("car", (64, 0, 128)),
        ("pedestrian", (64, 64, 0)),
        ("bicyclist", (0, 128, 192)),
        ("void", (0, 0, 0)),
    ),
    # The 19 classes by their trainId, and void, with the colours of cityscapesScripts' labels.py (Cordts et al., 2016).
    "cityscapes": _of(
        ("road", (128, 64, 128)),
        ("sidewalk", (244, 35, 232)),
        ("building", (70, 70, 70)),
        ("wall", (102, 102, 156)),
        ("fence", (190, 153, 153)),
        ("pole", (153, 153, 153)),
        ("traffic light", (250, 170, 30)),
        ("traffic sign", (220, 220, 0)),
        ("vegetation", (107, 142, 35)),
        ("terrain", (152, 251, 152)),
        ("sky", (70, 130, 180)),
        ("person", (220, 20, 60)),
        ("rider", (255, 0, 0)),
        ("car", (0, 0, 142)),
        ("truck", (0, 0, 70)),
        ("bus", (0, 60, 100)),
        ("train", (0, 80, 100)),
        ("motorcycle", (0, 0, 230)),
        ("bicycle", (119, 11, 32)),
        ("void", (0, 0, 0)),
    ),
}

LABEL_IDS: dict[str, tuple[str, ...]] = {
    # Class by the `id` of cityscapesScripts' labels.py, 0 (unlabeled) to 33 (bicycle): what *_labelIds.png hold. What has no
    # trainId of its own (parking, rail track, guard rail, bridge, tunnel, polegroup, caravan, trailer) is void, as there.
    "cityscapes": (
        *("void",) * 7,
        *("road", "sidewalk", "void", "void", "building", "wall", "fence", "void", "void", "void", "pole", "void"),
        *("traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus"),
        *("void", "void", "train", "motorcycle", "bicycle"),
    ),
}
"""By palette: the class that a data set's own ids mean, where they are not the palette's."""

OTHER_COLOURS: dict[str, dict[Colour, str]] = {
    # The colours of *_color.png that labels.py gives no trainId. (Polegroups have the poles' colour, license plates the cars'.)
    "cityscapes": dict.fromkeys(
        [
            *((111, 74, 0), (81, 0, 81), (250, 170, 160), (230, 150, 140), (180, 165, 180), (150, 100, 100), (150, 120, 90)),
            *((0, 0, 90), (0, 0, 110)),
        ],
        "void",
    ),
    # The 32 classes of CamVid's own *_L.png (Brostow et al., 2009, label_colors.txt) in the 11 of SegNet.
    "camvid": {
        **dict.fromkeys([(192, 0, 128), (0, 128, 64), (64, 0, 64), (64, 192, 0)], "building"),  # archway, bridge, tunnel, wall
        (0, 0, 64): "pole",  # traffic cone
        **dict.fromkeys([(128, 0, 192), (192, 0, 64)], "road"),  # lane markings, driven on and not
        **dict.fromkeys([(0, 0, 192), (64, 192, 128), (128, 128, 192)], "pavement"),  # sidewalk, parking block, shoulder
        (192, 192, 0): "tree",  # other vegetation
        **dict.fromkeys([(128, 128, 64), (0, 64, 64)], "sign"),  # text, traffic light
        # sports utility vehicle, truck or bus, train, other moving things
        **dict.fromkeys([(64, 128, 192), (192, 128, 192), (192, 64, 128), (128, 64, 64)], "car"),
        **dict.fromkeys([(192, 128, 64), (64, 0, 192), (64, 128, 64)], "pedestrian"),  # child, pram, animal
        (192, 0, 192): "bicyclist",  # motorcycle, scooter
    },
}
"""By palette: exact colours in which a data set draws what belongs to a class that is shown in another colour."""
