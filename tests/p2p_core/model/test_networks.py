"""The networks are the paper's: parameter counts, MACs and receptive fields of the tables in the spec."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from p2p_core.config import replace
from p2p_core.errors import ConfigError
from p2p_core.model.discriminator import PatchGAN, PatchGANConfig
from p2p_core.model.generator import ResNetConfig, UNet, UNetConfig, make_generator
from p2p_core.model.norm import BatchNorm, set_norm_mode
from p2p_core.model.resize_conv import ResizeConv
from p2p_core.model.resnet import ResidualBlock
from p2p_core.training.config import RunConfig
from p2p_core.training.data import Batch
from p2p_core.training.step import Adversary, TrainingState, training_step


def num_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def num_macs(module: nn.Module, *inputs: torch.Tensor) -> int:
    """Multiply-accumulates of the convolutions; a transposed one is counted by its input size (spec, section 1)."""
    total = 0

    def count(layer: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        sites = arguments[0] if isinstance(layer, nn.ConvTranspose2d) else output
        total += layer.weight.numel() * sites.shape[-1] * sites.shape[-2]

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        module.eval()(*inputs)
    return total


@pytest.mark.parametrize(
    ("config", "parameters", "gmac", "size_px"),
    [
        (UNetConfig(), 54_413_955, 6.048, 256),
        (UNetConfig(input_bands=1, output_bands=2), 54_409_858, 5.98, 256),
        (UNetConfig(depth=7), 41_828_995, 1.506, 128),
        (UNetConfig(skips=False), 39_075_459, 4.035, 256),
        (ResNetConfig(num_blocks=9), 11_383_427, 49.55, 256),
        (ResNetConfig(num_blocks=6), 7_841_411, 35.06, 256),
    ],
)
def test_a_generator_has_the_parameters_and_macs_of_the_reference(
    config: UNetConfig | ResNetConfig, parameters: int, gmac: float, size_px: int
) -> None:
    with torch.device("meta"):  # shapes are all that counts
        net, image = make_generator(config), torch.zeros(1, config.input_bands, size_px, size_px)
    assert num_parameters(net) == parameters
    assert num_macs(net, image) / 1e9 == pytest.approx(gmac, rel=1e-3)


@pytest.mark.parametrize(
    ("num_layers", "conditional", "parameters", "gmac"),
    [
        (0, True, 9_024, 0.57),
        (1, True, 139_585, 2.25),
        (3, True, 2_768_705, 3.20),
        (5, True, 11_159_361, 2.19),
        (3, False, 2_765_633, 3.15),
    ],
)
def test_a_discriminator_has_the_parameters_and_macs_of_the_reference(
    num_layers: int, conditional: bool, parameters: int, gmac: float
) -> None:
    with torch.device("meta"):
        net, image = PatchGAN(PatchGANConfig(num_layers=num_layers, conditional=conditional)), torch.zeros(1, 3, 256, 256)
    assert num_parameters(net) == parameters
    assert num_macs(net, image, image) / 1e9 == pytest.approx(gmac, abs=5e-3)


PATCHES = [(0, 1, 256), (1, 16, 126), (2, 34, 62), (3, 70, 30), (4, 142, 14), (5, 286, 6), (6, 574, 2)]


@pytest.mark.parametrize(("num_layers", "field_px", "map_px"), PATCHES)
def test_one_logit_reads_exactly_the_receptive_field_of_the_reference(num_layers: int, field_px: int, map_px: int) -> None:
    config = PatchGANConfig(num_layers=num_layers, base_width=2)
    net = PatchGAN(config).eval()
    assert net(*torch.zeros(2, 1, 3, 256, 256)).shape == (1, 1, map_px, map_px)
    image = torch.randn(1, 3, 1024, 1024, requires_grad=True)
    logits = net(image, image)
    middle = logits.shape[-1] // 2
    logits[0, 0, middle, middle].backward()
    assert image.grad is not None
    touched = image.grad.abs().sum(dim=(0, 1)) > 0
    for axis in (0, 1):
        read = touched.any(dim=axis).nonzero()
        assert int(read.max() - read.min()) + 1 == config.receptive_field_px == field_px


@pytest.mark.parametrize("num_layers", [0, 1, 3, 6])
def test_an_image_of_the_smallest_size_gives_one_logit_and_a_smaller_one_none(num_layers: int) -> None:
    config = PatchGANConfig(num_layers=num_layers, base_width=2)
    size_px = config.smallest_px
    net = PatchGAN(config).eval()
    assert net(*torch.zeros(2, 1, 3, size_px, size_px)).shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        net(*torch.zeros(2, 1, 3, size_px - 1, size_px - 1))


@torch.no_grad()
def test_only_a_conditional_discriminator_sees_the_input() -> None:
    torch.manual_seed(0)
    inputs, target = torch.randn(2, 1, 1, 64, 64), torch.randn(1, 2, 64, 64)
    for num_layers in (0, 2):
        for conditional in (True, False):
            config = PatchGANConfig(num_layers=num_layers, base_width=4, conditional=conditional, input_bands=1, target_bands=2)
            net = PatchGAN(config).eval()
            assert torch.equal(net(inputs[0], target), net(inputs[1], target)) is not conditional


def test_a_training_step_of_the_paper_is_87_gflop() -> None:
    """Spec, section 1: about 86.9 GFLOP for one 256 px image, D step and G step."""
    with FakeTensorMode():  # shapes without arithmetic
        generator, discriminator = UNet(UNetConfig()), PatchGAN(PatchGANConfig())
        adversary = Adversary(discriminator, torch.optim.Adam(discriminator.parameters()))
        state = TrainingState(generator, generator, torch.optim.Adam(generator.parameters()), adversary)
        images = torch.zeros(2, 1, 3, 256, 256)
        with FlopCounterMode(display=False) as counter:
            training_step(state, RunConfig(recipe="paper"), Batch(images[0], images[1], 1))
    assert counter.get_total_flops() / 1e9 == pytest.approx(86.9, abs=0.05)


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(depth=1, base_width=2),
        UNetConfig(depth=10, base_width=1, max_widening=2),
        UNetConfig(depth=2, base_width=5, skips=False),
        ResNetConfig(num_blocks=1, base_width=3),
        ResNetConfig(num_blocks=1, base_width=3, instance_norm=True),
    ],
    ids=lambda config: config.description,
)
@pytest.mark.parametrize(("input_bands", "output_bands"), [(1, 2), (13, 1)])
def test_generators_of_any_depth_width_and_bands_keep_the_size_of_their_smallest_input(
    config: UNetConfig | ResNetConfig, input_bands: int, output_bands: int
) -> None:
    config = replace(config, input_bands=input_bands, output_bands=output_bands)
    size_px = config.smallest_px
    image = torch.zeros(1, input_bands, size_px, size_px + config.lattice_px)
    net = make_generator(config)
    for mode in (True, False):  # one image is enough to take statistics from
        assert net.train(mode)(image).shape == (1, output_bands, *image.shape[2:])


def test_a_residual_block_adds_to_what_it_gets() -> None:
    block = ResidualBlock(4).eval()
    features = torch.randn(1, 4, 8, 8)
    assert not torch.allclose(block(features), features, atol=1e-3)
    nn.init.zeros_(block.layers[-1].weight)
    assert torch.equal(block(features), features)


def test_convolutions_start_at_a_standard_deviation_of_two_hundredths() -> None:
    torch.manual_seed(0)
    for layer in UNet(UNetConfig(depth=4)).modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 10_000:
            assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)


def test_dropout_sits_on_the_first_three_decoder_levels() -> None:
    net = UNet(UNetConfig(depth=6, base_width=4))
    has_dropout = [any(isinstance(layer, nn.Dropout) for layer in level) for level in net.decoder]
    assert has_dropout == [True, True, True, False, False, False]


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_unet_doubles_back_to_the_size_of_its_input(upsampling: str) -> None:
    net = UNet(UNetConfig.parse({"depth": 3, "base_width": 4, "upsampling": upsampling}, where="test"))
    assert net(torch.zeros(2, 3, 40, 64)).shape == (2, 3, 40, 64)


def test_without_skips_the_output_depends_on_the_bottleneck_alone() -> None:
    torch.manual_seed(0)
    config = UNetConfig(depth=3, base_width=4, skips=False, dropout=0.0)
    net = UNet(config).eval()
    image = torch.randn(1, 3, 8, 8)
    silenced = UNet(config).eval()
    silenced.load_state_dict(net.state_dict())
    nn.init.zeros_(silenced.encoder[-1][-1].weight)
    flat = silenced(image)
    assert torch.equal(flat, silenced(torch.randn(1, 3, 8, 8)))
    assert not torch.equal(net(image), flat)


def test_a_resize_convolution_is_doubling_and_a_convolution() -> None:
    torch.manual_seed(0)
    folded = ResizeConv(5, 7, bias=True)
    features = torch.randn(2, 5, 6, 9)
    doubled = F.interpolate(features, scale_factor=2, mode="nearest")
    plain = F.conv2d(doubled, folded.weight, folded.bias, padding=1)
    assert torch.allclose(folded(features), plain, atol=1e-5)


@torch.no_grad()
def test_without_norms_a_pixel_means_the_same_in_any_picture() -> None:
    torch.manual_seed(0)
    net = UNet(UNetConfig(depth=3, base_width=8, norm="none", initialisation="he", detail_width=4)).eval()
    assert not any(isinstance(module, BatchNorm) for module in net.modules())
    image = torch.randn(1, 3, 16, 16)
    frozen = net(image)
    set_norm_mode(net, "instance")
    assert torch.equal(net(image), frozen)


@torch.no_grad()
def test_he_weights_keep_the_spread_of_activations_where_the_papers_lose_it() -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 3, 64, 64)
    spreads = {}
    for initialisation in ("paper", "he"):
        config = UNetConfig.parse(
            {"depth": 4, "base_width": 16, "norm": "none", "initialisation": initialisation, "dropout": 0}, where="test"
        )
        features = image
        for level in UNet(config).encoder:
            features = level(features)
        spreads[initialisation] = float(features.std())
    assert spreads["paper"] < 0.1 < 0.5 < spreads["he"] < 3


@torch.no_grad()
def test_standardised_input_is_what_the_network_would_get_by_hand() -> None:
    torch.manual_seed(0)
    plain = UNet(UNetConfig(depth=3, base_width=8, dropout=0)).eval()
    config = UNetConfig(depth=3, base_width=8, dropout=0, input_mean=(0.1, 0.2, 0.3), input_std=(0.5, 0.25, 2.0))
    standardised = UNet(config).eval()
    standardised.load_state_dict(plain.state_dict())
    image = torch.rand(1, 3, 16, 16)
    by_hand = (image - torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)) / torch.tensor([0.5, 0.25, 2.0]).view(1, 3, 1, 1)
    assert torch.allclose(standardised(image), plain(by_hand), atol=1e-5)


def test_a_mean_without_a_spread_or_for_other_bands_is_refused() -> None:
    with pytest.raises(ConfigError, match="go together"):
        UNetConfig.parse({"input_mean": [0.5, 0.5, 0.5]}, where="test")
    with pytest.raises(ConfigError, match="1 values for 3 input bands"):
        UNetConfig.parse({"input_mean": [0.5], "input_std": [0.5]}, where="test")
