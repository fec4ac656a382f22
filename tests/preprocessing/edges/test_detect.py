"""Whole photos: borders without edges, results that know neither their neighbours nor their tiles."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from preprocessing.edges import detect
from preprocessing.edges.detect import DetectorConfig, EdgeDetector, detector_for
from preprocessing.edges.thinning import ThinningConfig, edge_lines

WHOLE_FRAME = ThinningConfig(border_px=0)


def near_border(shape: tuple[int, int], margin_px: int) -> np.ndarray:
    frame = np.ones(shape, bool)
    frame[margin_px:-margin_px, margin_px:-margin_px] = False
    return frame


def ramps(height_px: int, width_px: int) -> dict[str, np.ndarray]:
    y, x = np.mgrid[:height_px, :width_px]
    values = {"across": x, "down": y, "from the middle": np.hypot(y - height_px / 2, x - width_px / 2)}
    return {name: np.repeat((40 + 0.5 * ramp).astype(np.uint8)[..., np.newaxis], 3, axis=2) for name, ramp in values.items()}


@pytest.mark.parametrize("gray", [0, 128, 255])
def test_a_uniform_photo_has_no_edge_not_even_at_its_border(detector, gray) -> None:
    probability_HW = detector.probability(np.full((70, 101, 3), gray, np.uint8))
    assert probability_HW.max() < 0.05
    assert not edge_lines(probability_HW, WHOLE_FRAME).any()


def test_a_photo_that_fades_from_dark_to_bright_has_no_frame(detector) -> None:
    for name, photo_HWC in ramps(90, 120).items():
        assert not edge_lines(detector.probability(photo_HWC), WHOLE_FRAME).any(), name


def test_without_padding_the_networks_zeros_are_a_frame(hed_weights, detector) -> None:
    """Which is why there is padding. Judged by the same pixels inside a larger photo, and by a uniform one."""
    bare = EdgeDetector(hed_weights, DetectorConfig(padding_px=0))
    uniform_HW = bare.probability(np.full((96, 128, 3), 128, np.uint8))
    assert uniform_HW.max() > 0.3
    assert edge_lines(uniform_HW, WHOLE_FRAME).sum() > 100
    errors = {bare: 0.0, detector: 0.0}
    for photo_HWC in (skimage.data.chelsea()[:300, :400], skimage.data.coffee()[:300, :400]):
        truth_HW = detector.probability(photo_HWC)[80:208, 128:288]
        for either in errors:
            difference_HW = np.abs(either.probability(photo_HWC[80:208, 128:288]) - truth_HW)
            errors[either] += difference_HW[near_border(truth_HW.shape, 16)].mean()
    assert errors[detector] < 0.8 * errors[bare]


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_photos_probabilities_do_not_depend_on_the_photos_beside_it(tiny_detector, picture, batch) -> None:
    photos = [picture(40 + 8 * (seed % 3), 61, seed) for seed in range(7)]
    alone = [tiny_detector().probability(photo_HWC) for photo_HWC in photos]
    for engine, tolerance in (("ncnn", 0), ("torch", 1e-5)):
        together = tiny_detector(batch, engine=engine).probabilities(photos)
        assert [found.shape for found in together] == [photo_HWC.shape[:2] for photo_HWC in photos]
        for found_HW, expected_HW in zip(together, alone, strict=True):
            np.testing.assert_allclose(found_HW, expected_HW, atol=tolerance, rtol=0)


def test_the_published_network_gives_a_photo_the_same_bits_in_company(detector, photo) -> None:
    photos = [photo("rocket", 50, 66), photo("coffee", 50, 66), photo("chelsea", 34, 50)]
    for found_HW, photo_HWC in zip(detector.probabilities(photos), photos, strict=True):
        np.testing.assert_array_equal(found_HW, detector.probability(photo_HWC))


def test_no_photos_are_no_probabilities(tiny_detector) -> None:
    assert tiny_detector().probabilities([]) == []


@pytest.mark.parametrize("size_px", [(1, 1), (1, 200), (200, 1), (3, 3), (15, 17)])
@pytest.mark.parametrize("engine", ["ncnn", "torch"])
def test_photos_of_a_few_pixels_have_probabilities_too(tiny_detector, picture, size_px, engine) -> None:
    probability_HW = tiny_detector(engine=engine).probability(picture(*size_px, 1))
    assert probability_HW.shape == size_px
    assert ((probability_HW > 0) & (probability_HW < 1)).all()
    lines_HW = edge_lines(probability_HW, ThinningConfig(threshold=0))
    assert lines_HW.shape == size_px


def test_a_photo_in_tiles_equals_the_photo_in_one_and_half_the_halo_would_show(hed_weights, photo, monkeypatch) -> None:
    """128 px is enough, down to the last line, and 64 px is not."""
    photo_HWC = photo("coffee", 160, 360)
    whole, tiled = (EdgeDetector(hed_weights, DetectorConfig(tile_px=tile_px)) for tile_px in (1024, 176))
    whole_HW, tiled_HW = whole.probability(photo_HWC), tiled.probability(photo_HWC)
    assert np.abs(tiled_HW - whole_HW).max() <= 1e-5
    np.testing.assert_array_equal(edge_lines(whole_HW, ThinningConfig()), edge_lines(tiled_HW, ThinningConfig()))
    monkeypatch.setattr(detect, "HALO_PX", 64)
    assert np.abs(tiled.probability(photo_HWC) - whole_HW).max() > 1e-3


@pytest.mark.stress
def test_a_photo_in_tiles_both_ways_equals_the_photo_in_one(hed_weights, photo) -> None:
    photo_HWC = photo("coffee", 500, 700)
    whole, tiled = (EdgeDetector(hed_weights, DetectorConfig(tile_px=tile_px)) for tile_px in (1024, 256))
    whole_HW, tiled_HW = whole.probability(photo_HWC), tiled.probability(photo_HWC)
    assert np.abs(whole_HW - tiled_HW).max() <= 1e-5
    np.testing.assert_array_equal(edge_lines(whole_HW, ThinningConfig()), edge_lines(tiled_HW, ThinningConfig()))


def test_tiles_of_a_larger_photo_meet_without_a_seam(tiny_detector, photo) -> None:
    photo_HWC = photo("coffee", 500, 700)
    expected_HW = tiny_detector().probability(photo_HWC)
    for engine in ("ncnn", "torch"):
        found_HW = tiny_detector(engine=engine, tile_px=256).probability(photo_HWC)
        np.testing.assert_allclose(found_HW, expected_HW, atol=1e-5)


@pytest.mark.parametrize("tile_px", [16, 48])
@pytest.mark.parametrize("size_px", [(1, 97), (49, 130), (48, 96)])
def test_tiles_of_any_size_cover_every_pixel(tiny_detector, picture, size_px, tile_px) -> None:
    photo_HWC = picture(*size_px, 4)
    expected_HW = tiny_detector().probability(photo_HWC)
    np.testing.assert_allclose(tiny_detector(tile_px=tile_px).probability(photo_HWC), expected_HW, atol=1e-5)


def test_a_process_keeps_its_detector(tiny_choice) -> None:
    first = detector_for(DetectorConfig(), tiny_choice)
    assert detector_for(DetectorConfig(), tiny_choice) is first
    assert detector_for(DetectorConfig(tile_px=512), tiny_choice) is not first
