"""A tiny model bundle, and an MLflow store of its own for every test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.cli import run
from flows.services.models import local_tracking_uri
from p2p_core.evaluation.evaluate import Evaluation, Protocol, Scores
from p2p_core.inference.bundle import BundleSpec, save_bundle
from p2p_core.model.generator import UNet, UNetConfig

MakeBundle = Callable[..., Path]
MakeEvaluation = Callable[..., Evaluation]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """`call("verify", store)`: the command's exit code, and what it wrote to stdout and to stderr, without a traceback."""

    def run_command(*arguments: object) -> tuple[int, str, str]:
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run_command


@pytest.fixture
def pictures(pair_store: Path, tmp_path: Path) -> Path:
    """The pictures that the store was built from; a copy to change."""
    return Path(shutil.copytree(pair_store.parent / "pictures", tmp_path / "pictures"))


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """`make_bundle(seed)`: a bundle of random weights; another seed is another model."""

    def make(seed: int = 0) -> Path:
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        config = UNetConfig(depth=2, base_width=4)
        spec = BundleSpec(
            name="tiny",
            architecture=config,
            input_encoding="rgb",
            target_encoding="rgb",
            tile_px=16,
            lattice_px=config.lattice_px,
            halo_px=config.halo_px,
            recipe="tiny",
            images_seen=1,
            dataset_digest="d" * 64,
            metrics={"frozen_l1": 12.5},
        )
        pairs = np.random.default_rng(seed).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
        path = tmp_path_factory.mktemp("bundle") / "bundle"
        save_bundle(path, spec, UNet(config), pairs, pairs)
        return path

    return make


@pytest.fixture(scope="session")
def bundle(make_bundle: MakeBundle) -> Path:
    return make_bundle()


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with MLflow's tables and nothing else: making them takes seconds."""
    from flows.services.mlflow_client import connect

    directory = tmp_path_factory.mktemp("mlflow")
    connect(local_tracking_uri(directory), create=True)
    return directory / "mlflow.db"


@pytest.fixture
def tracking_uri(tmp_path: Path, empty_mlflow: Path) -> str:
    place = tmp_path / "mlflow"
    place.mkdir()
    shutil.copy(empty_mlflow, place)
    return local_tracking_uri(place)


@pytest.fixture(scope="session")
def make_evaluation() -> MakeEvaluation:
    """`make_evaluation(model_l1, affine_l1, split="test")`."""

    def make(model_l1: float, affine_l1: float, split: str = "test") -> Evaluation:
        def scores(l1: float) -> Scores:
            return Scores(l1=l1, psnr_db=20.0, ssim=0.5, gradient_energy_ratio=1.0, checkerboard_ratio=1.0)

        return Evaluation(
            protocol=Protocol(norm="frozen", crop_px=16),
            model="tiny",
            model_digest="0" * 64,
            dataset_digest="d" * 64,
            split=split,
            num_images=1,
            scores={"model": scores(model_l1), "affine": scores(affine_l1)},
            image_l1={"one": model_l1},
        )

    return make
