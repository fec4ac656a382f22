"""A ResNet generator of the reference code is the same function here; what our ResNet is not is refused with the reason."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from p2p_core.errors import BundleError, WeightsError
from p2p_core.inference.bundle import load_bundle
from p2p_core.inference.onnx_export import export_onnx
from p2p_core.inference.reference_bundle import bundle_reference
from p2p_core.inference.reference_checkpoint import load_reference_generator
from p2p_core.inference.translator import Translator
from p2p_core.model.generator import ResNetConfig
from p2p_core.model.norm import set_norm_mode
from tests.p2p_core.inference.reference_resnet_network import Norm, ReferenceResNet, lived_in_resnet


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def difference(one: Tensor, other: Tensor) -> float:
    assert one.std() > 0.1, "a flat picture would agree with anything"
    return float((one - other).abs().max())


@pytest.mark.parametrize("dropout", [True, False])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("num_blocks", [6, 9])
@torch.no_grad()
def test_the_pixels_are_the_references_under_eval(num_blocks: int, norm: Norm, dropout: bool, tmp_path: Path) -> None:
    reference = lived_in_resnet(num_blocks, 8, norm=norm, dropout=dropout).eval()
    generator = load_reference_generator(saved(reference.state_dict(), tmp_path / "G.pth"))
    assert generator.config == ResNetConfig(num_blocks=num_blocks, base_width=8, instance_norm=norm == "instance")
    input_NCHW = images(2, 3, 40, 64)
    assert difference(reference(input_NCHW), generator(input_NCHW)) <= 1e-5
    precise = input_NCHW.double()
    assert difference(reference.double()(precise), generator.double()(precise)) <= 1e-12


@pytest.mark.parametrize("norm", ["batch", "instance"])
@torch.no_grad()
def test_norm_instance_is_the_reference_without_eval_less_its_dropout(norm: Norm, tmp_path: Path) -> None:
    reference = lived_in_resnet(2, 8, norm=norm).double().train()
    input_NCHW = images(2, 3, 40, 64).double()
    noisy = torch.cat([reference(image_CHW[None]) for image_CHW in input_NCHW])
    for part in reference.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    alone = torch.cat([reference(image_CHW[None]) for image_CHW in input_NCHW])
    generator = load_reference_generator(saved(reference.state_dict(), tmp_path / "G.pth")).double()
    set_norm_mode(generator, "instance")
    assert difference(alone, generator(input_NCHW)) <= 1e-12
    assert difference(alone, noisy) > 0.01, "what dropout adds is not expressed"


@pytest.mark.parametrize("norm", ["batch", "instance"])
@torch.no_grad()
def test_any_number_of_blocks_width_and_bands_are_read_off_the_tensors(norm: Norm, tmp_path: Path) -> None:
    for num_blocks, width, bands in ((1, 3, (1, 2)), (4, 6, (13, 1))):
        reference = lived_in_resnet(num_blocks, width, bands=bands, norm=norm).eval()
        generator = load_reference_generator(saved(reference.state_dict(), tmp_path / "G.pth"))
        config = generator.config
        assert config.description == f"ResNet-{num_blocks}, base width {width}"
        assert (config.input_bands, config.output_bands) == bands
        input_NCHW = images(1, bands[0], 32, 36)
        assert difference(reference(input_NCHW), generator(input_NCHW)) <= 1e-5


@torch.no_grad()
def test_files_of_several_gpus_and_of_an_old_pytorch_are_read(tmp_path: Path) -> None:
    """Before 0.4 instance norms saved statistics that they never used."""
    reference = lived_in_resnet(6, 4, norm="instance", dropout=False).eval()
    old = {f"module.{name}": value for name, value in reference.state_dict().items()}
    unused = {"running_mean": torch.ones(4), "running_var": torch.ones(4), "num_batches_tracked": torch.tensor(3)}
    old |= {f"module.model.2.{name}": value for name, value in unused.items()}
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    input_NCHW = images(1, 3, 32, 32)
    assert difference(reference(input_NCHW), load_reference_generator(tmp_path / "old.pth")(input_NCHW)) <= 1e-5


def test_a_bundle_of_one_translates_pictures_on_a_lattice_of_4_px_and_passes_the_onnx_gate(tmp_path: Path) -> None:
    reference = lived_in_resnet(6, 4).eval()
    bundle_reference(saved(reference.state_dict(), tmp_path / "G.pth"), tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    assert (bundle.spec.lattice_px, bundle.spec.halo_px, bundle.spec.norm) == (4, 59, "frozen")
    photo_NHWC = np.random.default_rng(0).integers(0, 256, (1, 44, 60, 3), dtype=np.uint8)
    with torch.no_grad():
        input_NCHW = torch.from_numpy(photo_NHWC).permute(0, 3, 1, 2) / 127.5 - 1
        expected = (reference(input_NCHW).permute(0, 2, 3, 1).numpy() + 1) * 127.5
    assert expected.std() > 10
    assert np.abs(Translator(bundle).translate(photo_NHWC) - expected).max() <= 0.51, "rounded"
    assert export_onnx(tmp_path / "bundle", tmp_path / "G.onnx").max_difference <= 1e-5


def test_a_bundle_of_one_with_instance_norm_says_so_and_is_no_onnx_file(tmp_path: Path) -> None:
    bundle_reference(saved(lived_in_resnet(2, 4, norm="instance").state_dict(), tmp_path / "G.pth"), tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").spec.norm == "instance"
    with pytest.raises(BundleError, match="each picture's own statistics"):
        export_onnx(tmp_path / "bundle", tmp_path / "G.onnx")


def state(**options: object) -> dict[str, Tensor]:
    return dict(ReferenceResNet(6, 2, **options).state_dict())


def without(name: str, **options: object) -> dict[str, Tensor]:
    return {other: value for other, value in state(**options).items() if other != name}


FOREIGN = {
    "upsamples by resizing": (state(upsampling="resize"), r"unknown upsampling: model\.16 is no transposed"),
    "upsamples by k4": (state(upsampling="transposed k4"), r"unknown upsampling: model\.16 is no transposed"),
    "halves once more": (state(halvings=3), r"another ResNet than the reference's: 6 blocks at model\.13 to model\.18"),
    "pads blocks with zeros": (state(mirrored=False), "pad with zeros"),
    "has no norms": (state(norm="none"), "--norm none"),
    "lacks its last bias": (without("model.23.bias"), r"lacks model\.23\.bias, which a ResNet-6 has"),
    "lacks its last layer": (without("model.23.weight"), r"model\.23 is no convolution"),
    "lacks running statistics": (without("model.2.running_var"), r"lacks model\.2\.running_var"),
    "lacks a bias of instance norm": (without("model.4.bias", norm="instance"), r"lacks model\.4\.bias"),
    "has one too many": (state() | {"model.1.bias": torch.zeros(2)}, r"holds model\.1\.bias, which a ResNet-6 has not"),
    "is cut in the middle": (without("model.12.conv_block.6.weight"), r"lacks model\.12\.conv_block\.6\.weight"),
    "has kernels of another size": (
        state() | {"model.1.weight": torch.zeros(2, 3, 5, 5)},
        r"no ResNet-6 of the reference code: model\.1\.weight is \(2, 3, 5, 5\), and \(2, 3, 7, 7\) would fit",
    ),
    "has lost its numbers": (state() | {"model.23.bias": torch.full((3,), torch.nan)}, "not numbers"),
    "has more bands than any": (state(bands=(99, 3)), "input_bands"),
}


@pytest.mark.parametrize(("content", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_another_resnet_is_refused_with_the_reason(tmp_path: Path, content: dict[str, Tensor], reason: str) -> None:
    with pytest.raises(WeightsError, match=reason) as refused:
        load_reference_generator(saved(content, tmp_path / "foreign.pth"))
    assert str(tmp_path / "foreign.pth") in str(refused.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float) -> None:
    data = saved(state(), tmp_path / "G.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(WeightsError, match=r"cut\.pth is damaged"):
        load_reference_generator(tmp_path / "cut.pth")


def test_dropout_is_read_off_the_tensors_whatever_is_said(tmp_path: Path) -> None:
    path = saved(lived_in_resnet(2, 4).state_dict(), tmp_path / "G.pth")
    said, unsaid = (load_reference_generator(path, dropout=share) for share in (0.5, 0.0))
    assert said.config == unsaid.config
    assert not any(isinstance(part, nn.Dropout) for part in said.modules())
    assert copy.deepcopy(said).train()(images(1, 3, 32, 32)).requires_grad, "it can be trained on, without dropout"
