"""Runs of the first release, whose generators name no kind and whose objectives have other names, are read and resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from p2p_core.model.generator import UNetConfig
from p2p_core.model.losses import ObjectiveConfig
from p2p_core.training.config import RunConfig
from p2p_core.training.loop import train
from p2p_core.training.tracker import Trackers

DATA = Path(__file__).parents[2] / "data"
RUN = DATA / "run_schema_1"


class Silent:
    def update(self, done: int, note: str = "") -> None: ...


def committed_config() -> RunConfig:
    return RunConfig.parse(json.loads((RUN / "config.json").read_bytes()), where="config.json")


def test_the_committed_run_was_of_a_unet_with_least_squares() -> None:
    config = committed_config()
    assert config.generator == UNetConfig(depth=2, base_width=2)
    assert config.objective == ObjectiveConfig(reconstruction_weight=10.0, adversarial="least_squares")


def test_the_committed_run_goes_on_from_its_checkpoint_to_the_weights_it_had(tmp_path: Path) -> None:
    """Float results may move by rounding between CPUs."""
    torch.set_num_threads(1)
    run_dir = Path(shutil.copytree(RUN, tmp_path / "run"))
    store = DATA / "pair_store_schema_1"
    result = train(committed_config(), store, run_dir, tracker=Trackers([]), progress=Silent(), resume=True, device="cpu")
    assert (result.resumed_from, result.images_seen) == (4, 8)
    weights, expected = load_file(result.bundle / "weights.safetensors"), load_file(RUN / "finished.safetensors")
    assert weights.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(weights[name], value, atol=1e-4), name


@pytest.mark.parametrize(
    ("earlier", "now"),
    [
        ({"l1_weight": 10.0, "gan_weight": 1.0, "gan": "bce"}, ObjectiveConfig(reconstruction_weight=10.0)),
        ({"l1_weight": 0.0, "gan_weight": 2.0, "gan": "bce"}, ObjectiveConfig(reconstruction="none", adversarial_weight=2.0)),
        ({"l1_weight": 1.0, "gan_weight": 0.0, "gan": "bce"}, ObjectiveConfig(reconstruction_weight=1.0, adversarial="none")),
    ],
)
def test_earlier_weights_of_an_objective_mean_what_they_meant(earlier: dict[str, object], now: ObjectiveConfig) -> None:
    assert ObjectiveConfig.parse(earlier, where="test") == now
