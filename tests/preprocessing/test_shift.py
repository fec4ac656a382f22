from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from p2p_core.config import with_settings
from p2p_core.errors import ConfigError
from p2p_core.geometry import Window
from preprocessing.folders import FoldersBuilder, FoldersParameters
from preprocessing.pairs import Outcome, Pair, Rejected
from preprocessing.quality import QualityRule
from preprocessing.shift import MIN_SIDE_PX, clear_response, measure_shift

Pixels = NDArray[np.uint8]


def negative(photo_HWC: Pixels) -> Pixels:
    return 255 - photo_HWC.mean(axis=-1, keepdims=True).astype(np.uint8)


def steeper(photo_HWC: Pixels) -> Pixels:
    """Dark and light clipped, the bands in another order."""
    return np.clip(photo_HWC[..., ::-1].astype(np.float32) * 1.8 - 60, 0, 255).astype(np.uint8)


def views(
    photo_HWC: Pixels, dx_px: int, dy_px: int, made: Callable[[Pixels], Pixels], size_px: tuple[int, int]
) -> tuple[Pixels, Pixels]:
    """Two cuts of one photo: what the first shows at (x, y) the second, changed by `made`, shows at (x + dx_px, y + dy_px)."""
    (height_px, width_px), y, x = size_px, 20, 30
    first_HWC = photo_HWC[y : y + height_px, x : x + width_px]
    return first_HWC, made(photo_HWC[y - dy_px : y - dy_px + height_px, x - dx_px : x - dx_px + width_px])


def judged(input_HWC: Pixels, target_HWC: Pixels, max_shift_px: float | None = 3) -> Outcome:
    return QualityRule(max_shift_px=max_shift_px).judge(Pair("p", "s", input_HWC, target_HWC, Window(1, 2, 8, 8)))


@pytest.mark.parametrize("size_px", [(256, 256), (201, 257)], ids=["square", "odd"])
@pytest.mark.parametrize("made", [negative, steeper])
@pytest.mark.parametrize("photo", ["astronaut", "coffee", "chelsea", "rocket"])
def test_a_known_shift_of_a_photo_is_found_and_judged(photo, made, size_px) -> None:
    photo_HWC = getattr(skimage.data, photo)()
    for dx_px, dy_px in ((0, 0), (1, 0), (0, 3), (-2, 2), (7, 0), (0, -7), (-5, 6)):
        input_HWC, target_HWC = views(photo_HWC, dx_px, dy_px, made, size_px)
        shift = measure_shift(input_HWC, target_HWC)
        assert shift is not None
        assert (shift.dx_px, shift.dy_px) == pytest.approx((dx_px, dy_px), abs=0.5)
        misregistered = isinstance(judged(input_HWC, target_HWC, 3.5), Rejected)
        assert misregistered == (np.hypot(dx_px, dy_px) > 3.5)


def test_a_rejection_states_the_shift_and_the_response() -> None:
    outcome = judged(*views(skimage.data.astronaut(), 0, 7, negative, (256, 256)))
    assert isinstance(outcome, Rejected)
    assert (outcome.reason, outcome.window) == ("misregistered", Window(1, 2, 8, 8))
    assert outcome.detail == "The target lies off by (dx, dy) = (+0.0, +7.0) px, more than 3; response 0.99"


def test_nobody_looks_for_shifts_unless_asked() -> None:
    pair = views(skimage.data.astronaut(), 0, 7, negative, (256, 256))
    assert isinstance(QualityRule().judge(Pair("p", "s", *pair)), Pair)
    assert isinstance(judged(*pair, max_shift_px=8), Pair)
    for wrong in ("0", "-1", "far"):
        with pytest.raises(ConfigError, match="max_shift_px"):
            with_settings(FoldersParameters(layout="two"), [f"quality.max_shift_px={wrong}"])


@pytest.mark.parametrize("side_px", [MIN_SIDE_PX, 128, 256])
def test_pairs_of_noise_stay(picture, side_px) -> None:
    for seed in range(40):
        assert measure_shift(picture(side_px, side_px, seed), picture(side_px, side_px, seed + 1000)) is None


def test_photos_of_different_things_stay() -> None:
    """At most one in a hundred at any size, whatever they show."""
    photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    for side_px in (64, 128, 256):
        cuts = [
            [
                photo_HWC[y : y + side_px, x : x + side_px]
                for y in range(0, 300 - side_px, 40)
                for x in range(0, 400 - side_px, 40)
            ]
            for photo_HWC in photos
        ]
        shifts = [
            measure_shift(a, b) for i, some in enumerate(cuts) for others in cuts[:i] for a, b in zip(some, others, strict=True)
        ]
        assert len(shifts) > 20
        assert sum(shift is not None for shift in shifts) <= len(shifts) / 100


def test_a_flat_picture_has_no_shift_and_stays(picture) -> None:
    flat, lively = np.full((96, 96, 3), 7, np.uint8), picture(96, 96, 0)
    assert measure_shift(flat, flat) is None
    assert measure_shift(flat, lively) is None
    assert isinstance(QualityRule(min_std=0, max_shift_px=1).judge(Pair("p", "s", flat, lively)), Pair)


def test_pictures_too_small_to_tell_stay() -> None:
    small = views(skimage.data.astronaut(), 0, 7, negative, (MIN_SIDE_PX - 1, 256))
    assert measure_shift(*small) is None
    assert isinstance(judged(*small), Pair)
    assert clear_response(MIN_SIDE_PX) == 0.5
    assert clear_response(1024) == 0.2


def test_the_measure_is_the_same_each_time_with_any_number_of_threads() -> None:
    pair = views(skimage.data.coffee(), 4, -5, steeper, (256, 300))
    usual = cv2.getNumThreads()
    found = {measure_shift(*pair)}
    try:
        for threads in (1, 4):
            cv2.setNumThreads(threads)
            found.add(measure_shift(*pair))
    finally:
        cv2.setNumThreads(usual)
    assert len(found) == 1


def test_folders_leave_out_what_is_misregistered(tmp_path, save_picture) -> None:
    for name, dx_px in (("apart", 7), ("fits", 1)):
        input_HWC, target_HWC = views(skimage.data.astronaut(), dx_px, 0, negative, (128, 128))
        save_picture(tmp_path / "in" / f"{name}.png", input_HWC)
        save_picture(tmp_path / "out" / f"{name}.png", target_HWC)
    parameters = with_settings(FoldersParameters(layout="two", target_encoding="gray"), ["quality.max_shift_px=3"])
    builder = FoldersBuilder((tmp_path / "in", tmp_path / "out"), parameters)
    apart, fits = (outcome for source in builder.sources() for outcome in builder.build(source))
    assert isinstance(apart, Rejected)
    assert apart.reason == "misregistered"
    assert "(+7.0, +0.0) px" in apart.detail
    assert isinstance(fits, Pair)
