"""Pictures that hold class indices: as the levels of gray PNGs, or as the indices of PNGs with a palette of their own.

Legend: H W pixels, C bands.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from p2p_core.errors import RasterError
from p2p_core.palettes import LABEL_IDS, in_own_colours, palette
from p2p_core.rasters.images import ImageRaster
from p2p_core.rasters.protocol import full_window
from p2p_core.rasters.registry import open_raster

__all__ = ["classes_of_indices", "drawn_classes", "looks_like_classes"]

_IGNORED = 255  # what label pictures by index call pixels of no class, in Cityscapes and elsewhere
_MAX_CLASSES = 64


def classes_of_indices(indices: NDArray[np.uint8], palette_name: str, *, label_ids: bool) -> NDArray[np.uint8]:
    """Any shape. 255 is void where the palette has such a class.

    Args:
        label_ids: they count what the data set's own ids do (`palettes.LABEL_IDS`), not the palette's classes.

    Raises:
        RasterError: an index is no class.
    """
    own = palette(palette_name)
    names = LABEL_IDS[palette_name] if label_ids and palette_name in LABEL_IDS else own.names
    table = np.full(256, -1)
    table[: len(names)] = [own.names.index(known) for known in names]
    if own.void is not None:
        table[_IGNORED] = own.void
    classes: NDArray[np.int64] = table[indices]
    if classes.min() < 0:
        hint = "; its labelIds are read with ids=labelIds" if names is own.names and palette_name in LABEL_IDS else ""
        raise RasterError(
            f"It holds class {indices[classes < 0].max()}; palette {palette_name} has classes 0 to {len(names) - 1}{hint}",
            remedy="Name another palette, or set by_index to false",
            reason="class",
        )
    return classes.astype(np.uint8)


def drawn_classes(path: Path, palette_name: str) -> NDArray[np.uint8] | None:
    """(H, W, 3) in the palette's colours of a picture that holds class indices; None of one that shows colours.

    A gray picture holds indices unless the palette is gray itself. A PNG with a palette of its own shows colours if all of them
    are the palette's. Indices are read as `p2p build labels` reads them.

    Raises:
        RasterError: an index is no class, or the picture cannot be read.
    """
    own = palette(palette_name)
    with open_raster(path) as raster:
        if not isinstance(raster, ImageRaster) or (raster.bands == 1 and own.is_gray):
            return None
        indices_HW = raster.read_indices()
        if indices_HW is None:
            return None
        if raster.bands != 1:
            shown_HWC = raster.read(full_window(raster))[..., :3]
            is_ramp = not own.is_gray and (shown_HWC == indices_HW[..., np.newaxis]).all()
            if not is_ramp and _all_own(shown_HWC, palette_name):
                return None
    label_ids = path.stem.endswith("labelIds")
    return own.colours_of(classes_of_indices(indices_HW, palette_name, label_ids=label_ids))


def looks_like_classes(path: Path) -> str:
    """What of a picture tells that it holds class indices, few and small ones; empty where nothing does."""
    try:
        with open_raster(path) as raster:
            indices_HW = raster.read_indices() if isinstance(raster, ImageRaster) else None
            is_gray = raster.bands == 1
    except RasterError:
        return ""
    if indices_HW is None:
        return ""
    used = np.unique(indices_HW[indices_HW != _IGNORED])
    if not is_gray:
        return f"a palette of its own with {len(used)} colours in use" if len(used) <= _MAX_CLASSES else ""
    return f"gray levels {used[0]} to {used[-1]} alone" if len(used) > 1 and used[-1] < _MAX_CLASSES else ""


def _all_own(rgb_HWC: NDArray[np.uint8], palette_name: str) -> bool:
    rgb_HWC = in_own_colours(rgb_HWC, palette_name)
    return bool((palette(palette_name).snap(rgb_HWC) == rgb_HWC).all())
