"""A core on the lattice with the halo around it is the whole image's output; with less halo it is not."""

from __future__ import annotations

import pytest
import torch

from p2p_core.geometry import align_up
from p2p_core.model.generator import UNet, UNetConfig
from p2p_core.model.norm import BatchNorm


def make_net(config: UNetConfig) -> UNet:
    """Large weights and scales, so that far context reaches the output measurably."""
    torch.manual_seed(1)
    net = UNet(config)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.kaiming_normal_(module.weight)
        if isinstance(module, BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.8, 1.2)
    with torch.no_grad():
        for _ in range(4):
            net(torch.randn(2, 3, 128, 128))
    return net.eval()


@torch.no_grad()
def difference(net: UNet, image: torch.Tensor, core: tuple[int, int], size_px: int, halo_px: int) -> float:
    y, x = core
    whole = net(image)[..., y : y + size_px, x : x + size_px]
    window = image[..., y - halo_px : y + size_px + halo_px, x - halo_px : x + size_px + halo_px]
    inside = slice(halo_px, halo_px + size_px)
    return float((net(window)[..., inside, inside] - whole).abs().max())


@pytest.mark.parametrize(
    "variant", [{"upsampling": "transposed"}, {"upsampling": "resize"}, {"detail_width": 4, "norm": "none"}]
)
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_core_with_halo_equals_the_whole_image(depth: int, variant: dict[str, object]) -> None:
    config = UNetConfig.parse({"depth": depth, "base_width": 8, "dropout": 0, **variant}, where="test")
    net, lattice = make_net(config), config.lattice_px
    halo = align_up(config.halo_px, lattice)
    image = torch.randn(1, 3, 16 * lattice, 16 * lattice)
    assert difference(net, image, (6 * lattice, 5 * lattice), 2 * lattice, halo) < 1e-5


@pytest.mark.parametrize("upsampling", ["transposed", "resize"])
def test_half_the_halo_or_an_origin_off_the_lattice_is_not_enough(upsampling: str) -> None:
    config = UNetConfig.parse({"depth": 4, "base_width": 8, "dropout": 0, "upsampling": upsampling}, where="test")
    net, lattice = make_net(config), config.lattice_px
    image = torch.randn(1, 3, 16 * lattice, 16 * lattice)
    halo = align_up(config.halo_px, lattice)
    assert difference(net, image, (6 * lattice, 5 * lattice), 2 * lattice, halo // 2) > 1e-3
    assert difference(net, image, (6 * lattice + 1, 5 * lattice), 2 * lattice, halo) > 1e-3
