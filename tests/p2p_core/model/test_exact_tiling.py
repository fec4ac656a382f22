"""A core on the lattice with the halo around it is the whole image's output; with less halo it is not."""

from __future__ import annotations

import pytest
import torch

from p2p_core.geometry import align_up
from p2p_core.model.generator import Generator, ResNetConfig, UNetConfig, make_generator
from p2p_core.model.norm import BatchNorm

Config = UNetConfig | ResNetConfig


def make_net(config: Config) -> Generator:
    """Large weights, scales and shifts, and the statistics of noise, so that far context reaches the output measurably."""
    torch.manual_seed(1)
    net = make_generator(config)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
            torch.nn.init.uniform_(module.bias, -0.3, 0.3)
    with torch.no_grad():
        for _ in range(4):
            net(torch.randn(2, 3, 128, 128))
    return net.eval()


def make_image(config: Config) -> torch.Tensor:
    """Room for a core of two cells with its halo, two cells from each edge and one more at the right and below."""
    side_px = 2 * align_up(config.halo_px, config.lattice_px) + 7 * config.lattice_px
    return torch.randn(1, 3, side_px, side_px)


@torch.no_grad()
def difference(net: Generator, image: torch.Tensor, *, halo_px: int, off_px: int = 0) -> float:
    """Largest difference between a core read with so much halo, its window so far off the lattice, and the whole image's."""
    lattice_px = net.config.lattice_px
    core, size_px = align_up(net.config.halo_px, lattice_px) + 2 * lattice_px, 2 * lattice_px
    y, x = core + off_px, core + lattice_px
    whole = net(image)[..., y : y + size_px, x : x + size_px]
    window = image[..., y - halo_px : y + size_px + halo_px, x - halo_px : x + size_px + halo_px]
    inside = slice(halo_px, halo_px + size_px)
    return float((net(window)[..., inside, inside] - whole).abs().max())


@pytest.mark.parametrize(
    "config",
    [
        *(UNetConfig(depth=depth, base_width=8) for depth in (1, 2, 3, 4, 5)),
        UNetConfig(depth=4, base_width=8, upsampling="resize"),
        UNetConfig(depth=4, base_width=8, detail_width=4, norm="none"),
        UNetConfig(depth=4, base_width=8, skips=False),
        *(ResNetConfig(num_blocks=num_blocks, base_width=8) for num_blocks in (1, 6, 9)),
    ],
    ids=lambda config: f"{config.description} {getattr(config, 'norm', '')}",
)
def test_core_with_halo_equals_the_whole_image(config: Config) -> None:
    net = make_net(config)
    assert difference(net, make_image(config), halo_px=align_up(config.halo_px, config.lattice_px)) < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(depth=4, base_width=8),
        UNetConfig(depth=4, base_width=8, upsampling="resize"),
        ResNetConfig(num_blocks=6, base_width=8),
    ],
    ids=lambda config: config.description,
)
def test_half_the_halo_or_an_origin_off_the_lattice_is_not_enough(config: Config) -> None:
    net, image = make_net(config), make_image(config)
    halo_px = align_up(config.halo_px, config.lattice_px)
    assert difference(net, image, halo_px=align_up(halo_px // 2, config.lattice_px)) > 1e-3
    assert difference(net, image, halo_px=halo_px, off_px=1) > 1e-3
