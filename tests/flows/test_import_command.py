"""`p2p import`: a generator of the reference code becomes a bundle like any other, or one message says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from flows.cli import run
from p2p_core.errors import BundleError
from p2p_core.inference.bundle import load_bundle, verify_bundle
from p2p_core.inference.translator import Translator
from p2p_core.rasters.registry import open_raster
from tests.p2p_core.inference.reference_network import lived_in
from tests.p2p_core.inference.reference_resnet_network import lived_in_resnet


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    return lived_in(5, 4).eval()


@pytest.fixture(scope="module")
def checkpoint(reference: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reference") / "latest_net_G.pth"
    torch.save(reference.state_dict(), path)
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


@torch.no_grad()
def as_the_reference_does(network: nn.Module, picture_HWC: np.ndarray) -> np.ndarray:
    """Its own way from pixels to pixels: to 0..1, minus a half, over a half; and back, cut off to whole numbers."""
    input_NCHW = ((torch.from_numpy(picture_HWC).permute(2, 0, 1)[None].float() / 255) - 0.5) / 0.5
    return ((network(input_NCHW)[0].permute(1, 2, 0).numpy() + 1) / 2 * 255).astype(np.uint8)


def picture(height_px: int, width_px: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (height_px, width_px, 3), dtype=np.uint8)


def test_an_imported_model_translates_a_picture_to_the_references_pixels(
    reference: nn.Module, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, "import", checkpoint, "--out", tmp_path / "facades")
    assert (code, err) == (0, "")
    bundle = load_bundle(tmp_path / "facades")
    assert out == f"{tmp_path / 'facades'}: digest {bundle.digest}\n"
    assert (bundle.spec.name, bundle.spec.input_encoding, bundle.spec.norm) == ("facades", "rgb", "frozen")
    assert np.array_equal(Translator(bundle).translate(bundle.gate_pairs.input_NHWC), bundle.gate_pairs.generated_NHWC)
    photo = picture(64, 96)
    expected = as_the_reference_does(reference, photo)
    assert expected.std() > 10
    ours = Translator(bundle).translate(photo[None])[0]
    assert np.abs(ours.astype(int) - expected).max() <= 1, "rounded here, cut off there"
    Image.fromarray(photo).save(tmp_path / "photo.png")
    assert call(capsys, "translate", tmp_path / "facades", tmp_path / "photo.png", tmp_path / "out", "--workers", 0)[0] == 0
    with open_raster(tmp_path / "out" / "image.zarr") as raster:
        assert (raster.height_px, raster.width_px) == (64, 96)


def test_an_imported_resnet_translates_one_picture_to_the_references_pixels_but_near_its_edges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Near them the picture is mirrored here, features there."""
    reference = lived_in_resnet(1, 4).eval()
    torch.save(reference.state_dict(), tmp_path / "G.pth")
    assert call(capsys, "import", tmp_path / "G.pth", "--out", tmp_path / "bundle")[0] == 0
    halo_px = load_bundle(tmp_path / "bundle").spec.halo_px
    photo = picture(84, 120)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    code, _, err = call(capsys, "translate", tmp_path / "bundle", tmp_path / "photo.png", tmp_path / "out.png", "--workers", 0)
    assert (code, "Error" in err) == (0, False)
    inside = slice(halo_px, -halo_px)
    expected = as_the_reference_does(reference, photo)
    assert expected[inside, inside].std() > 10
    ours = np.asarray(Image.open(tmp_path / "out.png")).astype(int)
    assert ours.shape == expected.shape
    assert np.abs(ours - expected)[inside, inside].max() <= 1, "rounded here, cut off there"


def test_an_imported_model_is_registered_and_evaluated_like_any_other(
    checkpoint: Path, pair_store: Path, tmp_path: Path, tracking_uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--data", pair_store, "--register", "facades", "--tracking-uri", tracking_uri)
    code, out, _ = call(capsys, "import", checkpoint, "--out", tmp_path / "facades", *options)
    assert (code, out.splitlines()[-1]) == (0, "models:/facades/1")
    bundle = load_bundle(tmp_path / "facades")
    assert len(bundle.gate_pairs.input_NHWC) > 1
    assert bundle.gate_pairs.input_NHWC.std(axis=(1, 2, 3)).min() > 1, "they are pictures of the store"
    code, out, _ = call(capsys, "evaluate", "models:/facades/1", "--data", pair_store, "--tracking-uri", tracking_uri)
    assert code == 0
    assert "affine" in out


def test_a_generator_with_instance_norm_runs_on_pictures_but_not_on_rasters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(lived_in(5, 4, norm="instance").state_dict(), tmp_path / "G.pth")
    assert call(capsys, "import", tmp_path / "G.pth", "--out", tmp_path / "bundle")[0] == 0
    assert load_bundle(tmp_path / "bundle").spec.norm == "instance"
    Image.fromarray(picture(64, 64)).save(tmp_path / "photo.png")
    code, _, err = call(capsys, "translate", tmp_path / "bundle", tmp_path / "photo.png", tmp_path / "out", "--workers", 0)
    assert code == 1
    assert "normalises each picture by itself" in err


def test_bands_decide_the_encodings_and_unusual_ones_are_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(lived_in(5, 2, bands=(1, 2)).state_dict(), tmp_path / "colour.pth")
    torch.save(lived_in(5, 2, bands=(4, 1)).state_dict(), tmp_path / "ndvi.pth")
    assert call(capsys, "import", tmp_path / "colour.pth", "--out", tmp_path / "colour")[0] == 0
    spec = load_bundle(tmp_path / "colour").spec
    assert (spec.input_encoding, spec.target_encoding) == ("lab_l", "lab_ab")
    code, _, err = call(capsys, "import", tmp_path / "ndvi.pth", "--out", tmp_path / "ndvi")
    assert code == 2
    assert "4 into 1 bands" in err
    encodings = ("--input-encoding", "bands:4:uint16:0:3000", "--target-encoding", "bands:1:float32:-1:1")
    assert call(capsys, "import", tmp_path / "ndvi.pth", "--out", tmp_path / "ndvi", *encodings)[0] == 0
    assert load_bundle(tmp_path / "ndvi").gate_pairs.generated_NHWC.std() > 0.05
    code, _, err = call(capsys, "import", tmp_path / "ndvi.pth", "--out", tmp_path / "x", *encodings[:2])
    assert code == 2
    code, _, err = call(
        capsys, "import", tmp_path / "ndvi.pth", "--out", tmp_path / "x", "--input-encoding", "rgb", "--target-encoding", "rgb"
    )
    assert code == 2
    assert "rgb has 3" in err


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"\x80\x02cos\nsystem\n(S'true'\ntR."])
def test_a_file_that_is_no_checkpoint_leaves_one_message_and_no_bundle(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "G.pth").write_bytes(content)
    code, out, err = call(capsys, "import", tmp_path / "G.pth", "--out", tmp_path / "bundle")
    assert (code, out) == (1, "")
    assert err.startswith(f"Error: {tmp_path / 'G.pth'} is damaged, or holds more than plain tensors")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "bundle").exists()


def test_a_directory_that_holds_something_is_left_alone(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").touch()
    code, _, err = call(capsys, "import", checkpoint, "--out", tmp_path)
    assert code == 1
    assert "not empty" in err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_damaged_weight_of_an_imported_bundle_is_found(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call(capsys, "import", checkpoint, "--out", tmp_path / "bundle")
    weights = tmp_path / "bundle" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    assert [problem.path for problem in verify_bundle(tmp_path / "bundle")] == ["weights.safetensors"]
    with pytest.raises(BundleError):
        load_bundle(tmp_path / "bundle")
