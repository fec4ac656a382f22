"""Two engines, one network: the same probabilities, whatever the size, the neighbours in a batch or the threads."""

from __future__ import annotations

import numpy as np
import pytest

from p2p_core.errors import UsageError
from preprocessing.edges.detect import DetectorConfig, detector_for
from preprocessing.edges.ncnn_network import NcnnHED
from preprocessing.edges.torch_network import TorchHED
from preprocessing.edges.weights import HEDWeights, read_weights


def mirrored(arrays: dict[str, np.ndarray], axes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Kernels that do not change when they are mirrored along `axes` of (out, in, height, width)."""
    for axis in axes:
        arrays = {name: (a + np.flip(a, axis)) / 2 if a.ndim == 4 else a for name, a in arrays.items()}
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def test_torch_and_ncnn_agree_on_a_photo(detector, torch_detector, photo) -> None:
    photo_HWC = photo("astronaut", 117, 150)
    by_ncnn_HW, by_torch_HW = detector.probability(photo_HWC), torch_detector.probability(photo_HWC)
    assert by_ncnn_HW.shape == by_torch_HW.shape == (117, 150)
    assert by_ncnn_HW.max() > 0.9
    assert np.abs(by_ncnn_HW - by_torch_HW).max() <= 1e-5


@pytest.mark.parametrize("size_px", [(16, 16), (16, 160), (80, 32), (144, 176)])
def test_the_engines_agree_at_any_size_and_batch(tiny_detector, picture, size_px) -> None:
    photos_NHWC = np.stack([picture(*size_px, seed).astype(np.float32) for seed in range(3)])
    engines = [tiny_detector(engine=engine)._network for engine in ("ncnn", "torch")]
    by_ncnn_NHW, by_torch_NHW = (engine.probabilities(photos_NHWC) for engine in engines)
    assert by_ncnn_NHW.shape == (3, *size_px)
    assert by_ncnn_NHW.dtype == by_torch_NHW.dtype == np.float32
    np.testing.assert_allclose(by_ncnn_NHW, by_torch_NHW, atol=2e-6)


def test_the_number_of_threads_changes_no_bit(hed_weights, photo) -> None:
    photos_NHWC = photo("chelsea", 112, 160)[np.newaxis].astype(np.float32)
    one, three = (NcnnHED(hed_weights, num_threads).probabilities(photos_NHWC) for num_threads in (1, 3))
    np.testing.assert_array_equal(one, three)


@pytest.mark.parametrize("engine", ["torch", "ncnn"])
def test_the_layers_themselves_move_nothing(hed_weights, photo, engine) -> None:
    """With kernels that look the same in a mirror, the picture's mirror image has the mirrored probabilities.

    What is left of an offset comes from the kernels that were learned, not from how scales are laid over each other.
    """
    weights = HEDWeights(mirrored(dict(hed_weights.arrays), (2, 3)), "0" * 64)
    network = TorchHED(weights, "cpu") if engine == "torch" else NcnnHED(weights, 1)
    photo_NHWC = photo("coffee", 80, 112)[np.newaxis].astype(np.float32)
    probability_NHW = network.probabilities(photo_NHWC)
    assert np.ptp(probability_NHW) > 0.05
    for axes in ((1,), (2,), (1, 2)):
        other_NHW = network.probabilities(np.ascontiguousarray(np.flip(photo_NHWC, axes)))
        np.testing.assert_allclose(np.flip(other_NHW, axes), probability_NHW, atol=1e-5)


@pytest.mark.parametrize("engine", [TorchHED, NcnnHED])
def test_scores_are_moved_by_whole_pixels_and_their_border_is_repeated(tiny_choice, picture, engine) -> None:
    """With the scores of all stages but the first moved alike, and none from the first, all probabilities move."""
    read = read_weights(tiny_choice.path, sha256=tiny_choice.sha256)
    fuse = read.arrays["fuse.weight"].copy()
    fuse[:, 0] = 0
    still, moved = (HEDWeights({**read.arrays, "fuse.weight": fuse}, "", shifts) for shifts in ((0,) * 5, (0, 2, 2, 2, 2)))
    photo_NHWC = picture(48, 64, 0)[np.newaxis].astype(np.float32)
    still_NHW, moved_NHW = (
        (TorchHED(weights, "cpu") if engine is TorchHED else NcnnHED(weights, 1)).probabilities(photo_NHWC)
        for weights in (still, moved)
    )
    assert np.ptp(still_NHW) > 0.02
    np.testing.assert_allclose(moved_NHW, np.pad(still_NHW, ((0, 0), (0, 2), (0, 2)), mode="edge")[:, 2:, 2:], atol=1e-6)


def test_an_engine_that_cannot_run_on_a_device_says_so(tiny_choice) -> None:
    with pytest.raises(UsageError, match=r"ncnn does not run on 'cuda'.*engine torch"):
        detector_for(DetectorConfig(), tiny_choice, "cuda")
    for device in ("cuda:97", "abacus"):
        with pytest.raises(UsageError, match=f"no device '{device}' here"):
            detector_for(DetectorConfig(engine="torch"), tiny_choice, device)
