"""A generator of the reference code is the same function here; a file that holds none is refused with the reason."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from p2p_core.errors import P2PError, WeightsError
from p2p_core.inference.reference_checkpoint import load_reference_generator
from p2p_core.model.norm import set_norm_mode
from tests.p2p_core.inference.reference_network import ReferenceUNet, lived_in


def saved(network: nn.Module, path: Path) -> Path:
    torch.save(network.state_dict(), path)
    return path


def difference(one: Tensor, other: Tensor) -> float:
    assert one.std() > 0.1, "a flat picture would agree with anything"
    return float((one - other).abs().max())


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    return lived_in(8, 16)


@pytest.fixture(scope="module")
def checkpoint(reference: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(reference, tmp_path_factory.mktemp("reference") / "latest_net_G.pth")


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


@torch.no_grad()
def test_with_running_statistics_the_pixels_are_the_references(reference: nn.Module, checkpoint: Path) -> None:
    generator = load_reference_generator(checkpoint)
    input_NCHW = images(2, 3, 256, 512)
    assert difference(reference.eval()(input_NCHW), generator(input_NCHW)) <= 1e-6


@torch.no_grad()
def test_with_batch_statistics_and_dropout_the_pixels_are_the_references(reference: nn.Module, checkpoint: Path) -> None:
    """The reference's own way to test. The same seed drops the same features only where dropout has the same places.

    In double precision, since statistics of a few pixels magnify rounding: 4e-6 in single precision at full width, where
    the reference differs from itself by 2e-5 between memory layouts.
    """
    theirs = copy.deepcopy(reference).double().train()
    ours = load_reference_generator(checkpoint).double().train()
    input_NCHW = images(2, 3, 256, 256).double()
    torch.manual_seed(5)
    expected = theirs(input_NCHW)
    torch.manual_seed(5)
    assert difference(expected, ours(input_NCHW)) <= 1e-12
    torch.manual_seed(6)
    assert difference(expected, ours(input_NCHW)) > 1e-3


@torch.no_grad()
def test_norm_instance_is_batch_statistics_of_one_picture(reference: nn.Module, checkpoint: Path) -> None:
    theirs = copy.deepcopy(reference).train()
    for part in theirs.modules():
        if isinstance(part, nn.Dropout):
            part.eval()
    generator = load_reference_generator(checkpoint)
    set_norm_mode(generator, "instance")
    input_NCHW = images(2, 3, 256, 256)
    for net, dtype, rounding in ((generator, torch.float32, 5e-6), (generator.double(), torch.float64, 1e-12)):
        alone = torch.cat([theirs.to(dtype)(image_CHW[None]) for image_CHW in input_NCHW.to(dtype)])
        assert difference(alone, net.to(dtype)(input_NCHW.to(dtype))) <= rounding


@pytest.mark.parametrize("depth", [5, 6, 7, 9])
@pytest.mark.parametrize("norm", ["batch", "instance"])
@torch.no_grad()
def test_any_depth_norm_width_and_bands_are_read_off_the_tensors(depth: int, norm, tmp_path: Path) -> None:
    reference = lived_in(depth, 6, bands=(1, 2), norm=norm, dropout=False).double()
    generator = load_reference_generator(saved(reference, tmp_path / "latest_net_G.pth"), dropout=0)
    config = generator.config
    assert (config.depth, config.base_width, config.input_bands, config.output_bands) == (depth, 6, 1, 2)
    input_NCHW = images(1, 1, 1 << depth, 2 << depth).double()
    for mode in ("eval", "train"):
        theirs, ours = (getattr(copy.deepcopy(net), mode)() for net in (reference, generator.double()))
        assert difference(theirs(input_NCHW), ours(input_NCHW)) <= 1e-6


def test_files_of_several_gpus_and_of_an_old_pytorch_are_read(reference: nn.Module, tmp_path: Path) -> None:
    state = reference.state_dict()
    old = {f"module.{name}": value for name, value in state.items() if "num_batches" not in name}
    torch.save(old, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    generator = load_reference_generator(tmp_path / "old.pth").state_dict()
    assert torch.equal(generator["encoder.3.2.running_var"], state["model.model.1.model.3.model.3.model.2.running_var"])


def test_dropout_lies_where_the_reference_has_it(checkpoint: Path) -> None:
    def dropped(path: Path, dropout: float) -> list[int]:
        decoder = load_reference_generator(path, dropout=dropout).decoder
        return [index for index, up in enumerate(decoder) if any(isinstance(part, nn.Dropout) for part in up)]

    assert (dropped(checkpoint, 0.5), dropped(checkpoint, 0)) == ([1, 2, 3], [])


class Runs:
    """A file of it runs code in whoever unpickles it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    torch.save({"model.model.0.weight": torch.zeros(1), "x": Runs(tmp_path / "ran")}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=r"bad\.pth is damaged, or holds more than plain tensors"):
        load_reference_generator(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(checkpoint: Path, tmp_path: Path, share: float) -> None:
    data = checkpoint.read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(WeightsError, match=r"cut\.pth is damaged"):
        load_reference_generator(tmp_path / "cut.pth")


def small(**changes: Tensor | None) -> dict[str, Tensor]:
    state = ReferenceUNet(5, 2).state_dict()
    return {name: value for name, value in (state | changes).items() if value is not None}


FOREIGN = {
    "has no table of tensors": ([torch.zeros(2)], "holds no table of tensors"),
    "is empty": ({}, "holds no table of tensors"),
    "is a discriminator": ({"model.0.weight": torch.zeros(4, 6, 4, 4)}, "holds a discriminator"),
    "is a discriminator of pixels": ({"net.0.weight": torch.zeros(4, 6, 1, 1)}, "holds a discriminator"),
    "is another network": ({"conv1.weight": torch.zeros(4, 3, 3, 3)}, r"is neither a U-Net nor a ResNet generator.*conv1"),
    "lacks one tensor": (small(**{"model.model.3.bias": None}), r"lacks model\.model\.3\.bias"),
    "has one too many": (small(extra=torch.zeros(1)), "holds extra, which"),
    "has one of another shape": (small(**{"model.model.3.bias": torch.zeros(7)}), r"3\.bias is \(7,\), and \(3,\) would fit"),
    "has lost its numbers": (small(**{"model.model.3.bias": torch.full((3,), torch.nan)}), "not numbers"),
    "has more bands than any": (small(**{"model.model.0.weight": torch.zeros(2, 99, 4, 4)}), "input_bands"),
}


@pytest.mark.parametrize(("content", "reason"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_file_is_refused_with_the_reason(tmp_path: Path, content: object, reason: str) -> None:
    torch.save(content, tmp_path / "foreign.pth")
    with pytest.raises(P2PError, match=reason):
        load_reference_generator(tmp_path / "foreign.pth")


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.pth", tmp_path):
        with pytest.raises(WeightsError, match="cannot be read"):
            load_reference_generator(path)
