"""What is drawn, and the key that tells one way of drawing from another."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from p2p_core.config import Config
from preprocessing.edges import drawing
from preprocessing.edges.detect import DetectorConfig
from preprocessing.edges.drawing import EdgesConfig, edge_picture, edges_key
from preprocessing.edges.thinning import ThinningConfig, edge_lines


@pytest.fixture
def probability_HW() -> np.ndarray:
    noise_HW = np.random.default_rng(2).random((60, 84), dtype=np.float32)
    smooth_HW = cv2.GaussianBlur(noise_HW, (0, 0), 2)
    return (smooth_HW - smooth_HW.min()) / np.ptp(smooth_HW)


def test_lines_are_black_on_white_and_nothing_between(probability_HW) -> None:
    picture_HW = edge_picture(probability_HW, EdgesConfig())
    assert picture_HW.dtype == np.uint8
    lines_HW = edge_lines(probability_HW, ThinningConfig())
    np.testing.assert_array_equal(picture_HW, np.where(lines_HW, 0, 255))


def test_strength_is_the_probability_on_the_lines(probability_HW) -> None:
    config = EdgesConfig(output="strength", background="black", thinning=ThinningConfig(border_px=0))
    strength_HW = edge_picture(probability_HW, config)
    lines_HW = edge_lines(probability_HW, config.thinning)
    assert 50 < lines_HW.sum() < 2000
    np.testing.assert_array_equal(strength_HW[lines_HW], np.rint(probability_HW[lines_HW] * 255))
    assert not strength_HW[~lines_HW].any()


def test_probability_is_drawn_before_any_thinning(probability_HW) -> None:
    picture_HW = edge_picture(probability_HW, EdgesConfig(output="probability", background="black"))
    np.testing.assert_array_equal(picture_HW, np.rint(probability_HW * 255))
    assert picture_HW.min() == 0
    assert picture_HW.max() == 255


@pytest.mark.parametrize("output", ["lines", "strength", "probability"])
def test_one_background_is_the_others_negative(probability_HW, output) -> None:
    white_HW = edge_picture(probability_HW, EdgesConfig(output=output))
    black_HW = edge_picture(probability_HW, EdgesConfig(output=output, background="black"))
    np.testing.assert_array_equal(white_HW, 255 - black_HW)
    assert white_HW.mean() > 127 or output == "probability"


@pytest.mark.parametrize("output", ["lines", "strength", "probability"])
def test_another_size_is_made_of_probabilities_not_of_lines(probability_HW, output) -> None:
    config = EdgesConfig(output=output, size_px=(90, 128))
    found_HW = edge_picture(probability_HW, config)
    resized_HW = np.clip(cv2.resize(probability_HW, (128, 90), interpolation=cv2.INTER_CUBIC), 0, 1)
    np.testing.assert_array_equal(found_HW, edge_picture(resized_HW, EdgesConfig(output=output)))
    assert found_HW.shape == (90, 128)


def test_sizing_a_steep_step_does_not_run_over() -> None:
    """Cubic interpolation overshoots 0 and 1, and 256 is 0 in a byte."""
    step_HW = np.zeros((20, 20), np.float32)
    step_HW[:, 10:] = 1
    picture_HW = edge_picture(step_HW, EdgesConfig(output="probability", background="black", size_px=(31, 53)))
    assert (np.diff(picture_HW[15].astype(int)) >= 0).all()


def changed(config: Config) -> dict[str, Any]:
    """Field -> the same configuration with another value there, for every field of it and of what it holds."""
    others = {
        "output": "strength",
        "background": "black",
        "size_px": (8, 9),
        "engine": "torch",
        "padding_px": 32,
        "tile_px": 512,
        "mode": "robust",
        "smoothing_radius_px": 3,
        "suppression_radius_px": 2,
        "suppression_margin": 1.02,
        "border_px": 4,
        "threshold": 0.25,
        "min_component_px": 6,
    }
    parts = {"detector": DetectorConfig(), "thinning": ThinningConfig()}
    found: dict[str, Any] = {}
    for name in type(config).model_fields:
        if name in parts:
            nested = changed(parts[name])
            found |= {f"{name}.{field}": config.model_copy(update={name: value}) for field, value in nested.items()}
        else:
            found[name] = config.model_copy(update={name: others[name]})
    return found


def test_the_key_changes_with_everything_that_shapes_a_picture(monkeypatch) -> None:
    configs = {"": EdgesConfig(), **changed(EdgesConfig())}
    assert len(configs) == 1 + 3 + 3 + 7
    keys = {name: edges_key(config, "w" * 64) for name, config in configs.items()}
    keys["weights"] = edges_key(EdgesConfig(), "v" * 64)
    monkeypatch.setattr(drawing, "EDGES_VERSION", drawing.EDGES_VERSION + 1)
    keys["version"] = edges_key(EdgesConfig(), "w" * 64)
    assert len(set(keys.values())) == len(keys)
    monkeypatch.undo()
    assert edges_key(EdgesConfig(), "w" * 64) == keys[""]
