"""How pictures come to the one size that pairs have: scaled, cut, padded, with room for jitter. Legend: H W pixels, C bands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt, model_validator

from p2p_core.config import Config
from p2p_core.encodings import encoding
from p2p_core.errors import EmptySourceError, RasterError
from p2p_core.geometry import Window
from p2p_core.rasters.images import MAX_PIXELS
from p2p_core.rasters.protocol import Raster
from preprocessing.pairs import Outcome, Pair
from preprocessing.pictures import picture_size_px
from preprocessing.quality import QualityRule

__all__ = [
    "Fit",
    "Level",
    "PairSize",
    "PictureParameters",
    "Placement",
    "Resized",
    "require_one_aspect",
    "usual_size_px",
]

Fit = Literal["crop", "stretch", "pad"]
"""What becomes of a picture of another aspect: its middle is cut out, it is stretched, or it is kept whole in a frame."""

Level = Annotated[int, Field(ge=0, le=255)]
Size = tuple[int, int]


def _readable(size_px: Size) -> Size:
    if size_px[0] * size_px[1] > MAX_PIXELS:
        raise ValueError(f"{size_px[1]} x {size_px[0]} px are more than {MAX_PIXELS} pixels, the most a picture may have")
    return size_px


PairSize = Annotated[tuple[PositiveInt, PositiveInt], AfterValidator(_readable)]
"""(height, width) that pictures may be brought to."""

Resized = Callable[[NDArray[Any], int, int], NDArray[Any]]
"""(pixels_HWC, height_px, width_px) -> the pixels at that size."""

_SAMPLE = 32
"""So many pictures tell the usual size."""


@dataclass(frozen=True)
class Placement:
    """What of a picture a pair shows, and where.

    Attributes:
        aspect: height / width of the picture's middle, which alone is kept; None keeps all of it.
        scaled_px: (height, width) that what is kept is brought to.
        cut: the part of that which lies in the pair.
        content: where in the pair it lies; the rest is padding.
        size_px: of the pair.
    """

    aspect: float | None
    scaled_px: Size
    cut: Window
    content: Window
    size_px: Size

    def shown(self, picture_HWC: NDArray[Any], resized: Resized) -> NDArray[Any]:
        """A picture, or another of the same view at any scale -> what the pair shows of it, (H, W) of `content`."""
        return self.cut_from(resized(self.kept(picture_HWC), *self.scaled_px))

    def kept(self, picture: Raster | NDArray[Any]) -> NDArray[Any]:
        """What is kept of a picture: no other part of a raster is read."""
        if isinstance(picture, np.ndarray):
            return picture[self._kept_window(*picture.shape[:2]).slices]
        return picture.read(self._kept_window(picture.height_px, picture.width_px))

    def _kept_window(self, height_px: int, width_px: int) -> Window:
        return Window(0, 0, height_px, width_px) if self.aspect is None else _middle(height_px, width_px, self.aspect)

    def cut_from(self, scaled_HWC: NDArray[Any]) -> NDArray[Any]:
        """What is kept of a picture, at `scaled_px` -> what the pair shows."""
        return np.ascontiguousarray(scaled_HWC[self.cut.slices])

    def padded(self, pair: Pair, encodings: tuple[str, str], colour: tuple[int, int, int]) -> Pair:
        """A pair as large as `content`, in a frame of the colour that each encoding pads with (`Encoding.padding`).

        The attribute `content` says where the pictures lie, `y,x,height,width`, unless they fill the pair.
        """
        if (self.content.height_px, self.content.width_px) == self.size_px:
            return pair
        halves = []
        for pixels_HWC, name in zip((pair.input_HWC, pair.target_HWC), encodings, strict=True):
            whole_HWC = np.empty((*self.size_px, pixels_HWC.shape[-1]), pixels_HWC.dtype)
            whole_HWC[:] = encoding(name).padding(colour)
            whole_HWC[self.content.slices] = pixels_HWC
            halves.append(whole_HWC)
        window = self.content
        place = f"{window.y_px},{window.x_px},{window.height_px},{window.width_px}"
        return replace(pair, input_HWC=halves[0], target_HWC=halves[1], attributes={**pair.attributes, "content": place})


class PictureParameters(Config):
    """What builders of whole pictures have in common: the size of pairs (resize, then crop), and which pairs are good enough.

    `resize_px`: (height, width) to bring pictures to; null keeps their own size, which must be one unless `crop_px` is given.
    `fit`: of a picture of another aspect `crop` keeps the middle, `stretch` all, distorted, and `pad` all, in a frame.
    `pad_fill`: red, green and blue of that frame, mid grey unless given, all but 0 to a network; label pictures have void
    there, or the first class of a palette without it. `crop_px`: (height, width) to cut from the middle after resizing.
    `jitter_px`: pairs are made larger by so much along both sides (30: 286 for 256, the paper's). Training then cuts its crops
    out of real pixels; validation and evaluation see the middle, of the size that `resize_px` and `crop_px` say.
    """

    resize_px: PairSize | None = (256, 256)
    fit: Fit = "crop"
    pad_fill: tuple[Level, Level, Level] = (128, 128, 128)
    crop_px: tuple[PositiveInt, PositiveInt] | None = None
    jitter_px: NonNegativeInt = 0
    quality: QualityRule = QualityRule()

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.resize_px and self.crop_px and any(cut > size for cut, size in zip(self.crop_px, self.resize_px, strict=True)):
            raise ValueError(f"crop_px {list(self.crop_px)} is larger than resize_px {list(self.resize_px)}")
        if self.jitter_px and not (self.resize_px or self.crop_px):
            raise ValueError("pictures that keep their own size have no room for jitter: give crop_px, or resize_px, as well")
        return self

    @property
    def pair_px(self) -> Size | None:
        """(height, width) of pairs; None where they have the pictures' own."""
        return self._with_room(self.crop_px or self.resize_px)

    def placement(self, picture_px: Size, pair_px: Size) -> Placement:
        """Of a picture of `picture_px`, (height, width), in pairs of `pair_px`.

        Raises:
            RasterError: it is to keep its own size, and that is another, or less than the crop.
        """
        resize_px = self._with_room(self.resize_px)
        canvas_px = resize_px or picture_px
        if any(size < wanted for size, wanted in zip(canvas_px, pair_px, strict=True)) or (
            canvas_px != pair_px and not self.crop_px
        ):
            raise self._misfit(picture_px, pair_px)
        scaled_px = _inside(picture_px, canvas_px) if self.fit == "pad" else canvas_px
        there = _centred(scaled_px, canvas_px)  # of the scaled picture on the canvas
        pair = _centred(pair_px, canvas_px)
        content = there.shift(-pair.y_px, -pair.x_px).clip(*pair_px)
        cut = content.shift(pair.y_px - there.y_px, pair.x_px - there.x_px)
        aspect = canvas_px[0] / canvas_px[1] if resize_px and self.fit == "crop" else None
        return Placement(aspect, scaled_px, cut, content, pair_px)

    def finished(self, pair: Pair, placement: Placement, encodings: tuple[str, str]) -> Outcome:
        """A pair as large as the placement's `content`, judged, then padded: a frame is neither bright nor dull."""
        judged = self.quality.judge(pair, encodings)
        return placement.padded(judged, encodings, self.pad_fill) if isinstance(judged, Pair) else judged

    def _with_room(self, size_px: Size | None) -> Size | None:
        return (size_px[0] + self.jitter_px, size_px[1] + self.jitter_px) if size_px else None

    def _misfit(self, picture_px: Size, pair_px: Size) -> RasterError:
        own, wanted = (f"{width_px}x{height_px}" for height_px, width_px in (picture_px, pair_px))
        problem = (
            f"It is {own} px, less than the crop of {wanted}" if self.crop_px else f"It is {own} px where others are {wanted}"
        )
        return RasterError(f"{problem}; resize_px helps", remedy="Resize the pictures, or set resize_px", reason="size")


def usual_size_px(paths: Iterable[Path], measure: Callable[[Path], Size] = picture_size_px) -> Size:
    """The most frequent size among the first readable pictures; the larger where two are as frequent.

    Raises:
        EmptySourceError: none can be read.
    """
    sizes: Counter[Size] = Counter()
    unread: list[Path] = []
    for path in paths:
        try:
            sizes[measure(path)] += 1
        except RasterError:  # will be rejected, with its reason, when it is built
            unread.append(path)
            continue
        if sizes.total() == _SAMPLE:
            break
    if not sizes:
        place = f" in {unread[0].parent}" if unread else ""
        raise EmptySourceError(f"None of the {len(unread)} pictures{place} can be read", remedy="Fetch or export them again")
    return max(sizes, key=lambda size: (sizes[size], size))


def require_one_aspect(names: tuple[str, str], size_px: Size, other_px: Size) -> None:
    """Raises `RasterError` unless one picture is the other at some scale, to a pixel of either."""
    (height, width), (other_height, other_width) = size_px, other_px
    off_px = abs(height * other_width - width * other_height)
    if off_px >= max(*size_px, *other_px):
        raise RasterError(
            f"The {names[0]} has {width}x{height} px and {names[1]} {other_width}x{other_height}:"
            " one is not the other at a scale",
            remedy="Crop both to the same view",
            reason="size",
        )


def _middle(height_px: int, width_px: int, aspect: float) -> Window:
    """The largest part about the centre whose height is `aspect` times its width."""
    kept_px = min(height_px, max(1, round(width_px * aspect))), min(width_px, max(1, round(height_px / aspect)))
    return _centred(kept_px, (height_px, width_px))


def _inside(picture_px: Size, canvas_px: Size) -> Size:
    """The picture's aspect, as large as fits the canvas."""
    scale = min(canvas / own for canvas, own in zip(canvas_px, picture_px, strict=True))
    height_px, width_px = (min(canvas, max(1, round(own * scale))) for canvas, own in zip(canvas_px, picture_px, strict=True))
    return height_px, width_px


def _centred(size_px: Size, canvas_px: Size) -> Window:
    return Window((canvas_px[0] - size_px[0]) // 2, (canvas_px[1] - size_px[1]) // 2, *size_px)
