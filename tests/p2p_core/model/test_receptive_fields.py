"""How far a generator sees, measured by gradients: the halo that exact tiling is built on (spec, section 1)."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch

from p2p_core.geometry import align_up
from p2p_core.model.generator import Generator, ResNetConfig, UNetConfig, make_generator

UNET_REACH_PX = {1: 3, 2: 9, 3: 21, 4: 45, 5: 93, 6: 189, 7: 381, 8: 765}
ALIGNED_HALO_PX = {9: 84, 6: 60}


def averaging(config: UNetConfig | ResNetConfig) -> Generator:
    """All weights positive, so that no dependence cancels; double precision, so that the faintest is not lost."""
    net = make_generator(config).double().eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                part.weight.fill_(1 / part.weight[:, 0].numel())
    return net


def rows_read(net: Generator, rows: slice, image: torch.Tensor) -> tuple[int, int]:
    """The first input row that these rows of the output depend on, and one past the last."""
    (gradient,) = torch.autograd.grad(net(image)[:, :, rows].sum(), image)
    read = gradient.sum(dim=(0, 1, 3)).nonzero()
    return int(read.min()), int(read.max()) + 1


def strip(config: UNetConfig | ResNetConfig, height_px: int) -> torch.Tensor:
    return torch.full((1, 1, height_px, config.smallest_px), 0.5, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize(("depth", "reach_px"), UNET_REACH_PX.items())
def test_the_farthest_pixel_that_a_unet_reads_is_that_of_the_reference(depth: int, reach_px: int) -> None:
    config = UNetConfig(depth=depth, base_width=1, max_widening=1, input_bands=1, output_bands=1)
    lattice_px = config.lattice_px
    net, image = averaging(config), strip(config, 9 * lattice_px)
    start = 4 * lattice_px
    places: Iterable[int] = range(lattice_px) if depth <= 5 else (0, 1, lattice_px - 2, lattice_px - 1)
    reaches = []
    for row in (start + place for place in places):
        first, end = rows_read(net, slice(row, row + 1), image)
        reaches.append(max(row - first, end - 1 - row))
    assert max(reaches) == reach_px


@pytest.mark.parametrize(
    "config",
    [
        *(UNetConfig(depth=depth) for depth in UNET_REACH_PX),
        *(UNetConfig(depth=depth, upsampling="resize", detail_width=1) for depth in (1, 3, 5)),
        UNetConfig(depth=4, skips=False),
        *(ResNetConfig(num_blocks=num_blocks) for num_blocks in (1, 6, 9)),
    ],
    ids=lambda config: config.description,
)
def test_a_core_on_the_lattice_reads_exactly_the_halo_that_its_network_states(config: UNetConfig | ResNetConfig) -> None:
    narrow = {"base_width": 1, "input_bands": 1, "output_bands": 1}
    config = config.model_copy(update=narrow | ({"max_widening": 1} if isinstance(config, UNetConfig) else {}))
    start, core_px = align_up(config.halo_px, config.lattice_px) + config.lattice_px, 2 * config.lattice_px
    image = strip(config, 2 * start + core_px)
    first, end = rows_read(averaging(config), slice(start, start + core_px), image)
    assert (start - first, end - start - core_px) in {(config.halo_px,) * 2, (config.halo_px - 1, config.halo_px)}


@pytest.mark.parametrize(("num_blocks", "halo_px"), ALIGNED_HALO_PX.items())
def test_a_resnet_needs_the_halo_of_the_reference(num_blocks: int, halo_px: int) -> None:
    config = ResNetConfig(num_blocks=num_blocks)
    assert align_up(config.halo_px, config.lattice_px) == halo_px


def test_a_unet_256_on_its_lattice_needs_512_px() -> None:
    assert align_up(UNetConfig().halo_px, UNetConfig().lattice_px) == 512
