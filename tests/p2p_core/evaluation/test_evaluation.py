"""Scores mean what they say: known images give known numbers, and the baselines are honest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from p2p_core.encodings import encoding
from p2p_core.errors import BundleError, StoreError
from p2p_core.evaluation.baselines import AffineColourMap, identity
from p2p_core.evaluation.evaluate import evaluate, score
from p2p_core.evaluation.metrics import checkerboard_energy, energy_ratio, gradient_energy, l1, psnr_db, ssim
from p2p_core.evaluation.sheets import contact_sheet
from p2p_core.inference.bundle import BundleSpec, load_bundle, save_bundle
from p2p_core.model.generator import UNet, UNetConfig
from p2p_core.pairstore.reader import PairStore


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(20, 230, (3, 32, 32, 3), dtype=np.uint8)


def test_a_perfect_answer_scores_perfectly(images: np.ndarray) -> None:
    perfect = score(images, images)
    assert (perfect.l1, perfect.psnr_db) == (0, 100)
    assert perfect.ssim == pytest.approx(1)
    assert perfect.gradient_energy_ratio == perfect.checkerboard_ratio == pytest.approx(1)


def test_l1_and_psnr_of_a_known_offset(images: np.ndarray) -> None:
    assert l1(images + 10, images) == pytest.approx([10, 10, 10])
    assert psnr_db(images + 10, images) == pytest.approx([20 * np.log10(25.5)] * 3)


def test_ssim_falls_with_noise_but_not_with_order(images: np.ndarray) -> None:
    noisy = np.clip(images + np.random.default_rng(1).normal(0, 30, images.shape), 0, 255).astype(np.uint8)
    assert (ssim(noisy, images) < 0.95).all()
    assert ssim(noisy, images) == pytest.approx(ssim(images, noisy))


def test_a_blur_loses_gradient_energy_and_a_checkerboard_shows() -> None:
    smooth = np.broadcast_to(np.linspace(0, 200, 32, dtype=np.uint8)[:, None], (2, 32, 32))[..., None].copy()
    board = smooth.copy()
    board[:, ::2, ::2] += 20
    assert energy_ratio(gradient_energy, smooth // 2, smooth) == pytest.approx(0.25, rel=0.1)
    assert energy_ratio(checkerboard_energy, board, smooth) > 100
    assert energy_ratio(gradient_energy, board, smooth) > 2


def test_the_affine_baseline_finds_an_affine_world_exactly(images: np.ndarray) -> None:
    matrix = np.array([[0.5, 0.2, 0.0], [0.1, 0.5, 0.1], [0.0, 0.2, 0.6]])
    target = np.rint(images @ matrix + 12).astype(np.uint8)
    fitted = AffineColourMap.fit(images, target, encoding("rgb"), encoding("rgb"))
    assert l1(fitted(images), target).max() < 0.5
    assert fitted.matrix == pytest.approx(matrix, abs=0.01)


def test_identity_is_no_answer_where_bands_differ(images: np.ndarray) -> None:
    assert identity(images, encoding("rgb"), encoding("gray")) is None
    assert identity(images, encoding("rgb"), encoding("rgb")) is images


def test_identity_leaves_a_photo_that_is_to_be_coloured_gray(images: np.ndarray) -> None:
    answer = identity(images[..., :1], encoding("lab_l"), encoding("lab_ab"))
    assert answer is not None
    assert np.array_equal(answer, np.repeat(images[..., :1], 3, axis=-1))


def make_bundle(path: Path, encodings: tuple[str, str] = ("rgb", "rgb")) -> Path:
    net = UNet(UNetConfig(depth=3, base_width=8, input_bands=3 if encodings[0] == "rgb" else 1))
    spec = BundleSpec(
        name="small", architecture=net.config, input_encoding=encodings[0], target_encoding=encodings[1], tile_px=64,
        lattice_px=8, halo_px=15, recipe="small", images_seen=0, dataset_digest="0" * 64, metrics={},
    )  # fmt: skip
    pixels = np.zeros((1, 64, 64, net.config.input_bands), np.uint8)
    save_bundle(path, spec, net, pixels, np.zeros((1, 64, 64, 3), np.uint8))
    return path


def test_evaluation_scores_the_asked_split_beside_its_baselines(pair_store: Path, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    result = evaluate(bundle, pair_store, sheet=tmp_path / "sheet.png")
    assert (result.split, result.num_images) == ("test", 8)
    assert set(result.scores) == {"model", "affine", "identity"}
    assert set(result.image_l1) == {record.pair_id for record in PairStore.open(pair_store).split("test").records}
    assert result.scores["affine"].l1 < 1, "the store's target is an affine map of its input"
    assert not result.beats("affine"), "an untrained network must not win"
    assert result.model_digest == load_bundle(bundle).digest
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


def test_a_model_of_another_kind_of_pair_is_refused(pair_store: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="gray to rgb, the store pairs rgb with rgb"):
        evaluate(make_bundle(tmp_path / "bundle", ("gray", "rgb")), pair_store)


def test_a_split_that_does_not_exist_is_named(pair_store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="'holdout'"):
        evaluate(make_bundle(tmp_path / "bundle"), pair_store, split="holdout")


def test_a_sheet_holds_every_picture_in_place(images: np.ndarray) -> None:
    sheet = contact_sheet({"input": images, "target": 255 - images})
    found = [
        (y, x)
        for y in range(sheet.shape[0] - 31)
        for x in range(sheet.shape[1] - 31)
        if np.array_equal(sheet[y, x : x + 32], images[0][0]) and np.array_equal(sheet[y : y + 32, x : x + 32], images[0])
    ]
    assert len(found) == 1
