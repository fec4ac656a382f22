"""What each norm mode means (spec, "Normalisation at test time")."""

from __future__ import annotations

import pytest
import torch

from p2p_core.errors import ConfigError
from p2p_core.model.generator import UNet, UNetConfig
from p2p_core.model.norm import BatchNorm, reset_running_statistics, set_norm_mode

CONFIG = UNetConfig(depth=4, base_width=8, dropout=0.0)


@pytest.fixture
def trained() -> UNet:
    """Weights with a life behind them: random scales, and running statistics from real batches."""
    torch.manual_seed(0)
    net = UNet(CONFIG)
    for module in net.modules():
        if isinstance(module, BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -1, 1)
    with torch.no_grad():
        for _ in range(8):
            net(torch.randn(4, 3, 64, 64))
    return net


@torch.no_grad()
def test_instance_mode_equals_batch_statistics_at_batch_one_whatever_the_batch(trained: UNet) -> None:
    images = torch.randn(5, 3, 64, 64)
    trained.train()
    alone = torch.cat([trained(image[None]) for image in images])
    set_norm_mode(trained, "instance")
    together = trained.eval()(images)
    assert float((together - alone).abs().max()) < 1e-5


@torch.no_grad()
def test_batch_statistics_make_an_output_depend_on_its_neighbours(trained: UNet) -> None:
    """The trap the modes exist for: if this fails, the test above proves nothing."""
    images = torch.randn(5, 3, 64, 64)
    trained.train()
    assert float((trained(images)[:1] - trained(images[:1])).abs().max()) > 1e-2


@torch.no_grad()
def test_frozen_mode_is_another_function_than_instance_mode(trained: UNet) -> None:
    image = torch.randn(1, 3, 64, 64) * 2
    set_norm_mode(trained, "frozen")
    frozen = trained.eval()(image)
    set_norm_mode(trained, "instance")
    assert float((trained(image) - frozen).abs().max()) > 1e-2


@torch.no_grad()
def test_frozen_output_of_an_image_ignores_its_neighbours_bit_for_bit() -> None:
    """At the widths people train; at 8 channels other kernels run and the last bit moves with the batch size."""
    torch.manual_seed(0)
    net = UNet(UNetConfig(depth=5, base_width=32)).eval()
    images = torch.randn(4, 3, 128, 128)
    together = net(images)
    assert torch.equal(net(images.flip(0)).flip(0), together)
    assert all(torch.equal(together[i : i + 1], net(images[i : i + 1])) for i in range(4))


@torch.no_grad()
def test_reset_statistics_average_all_following_batches_equally() -> None:
    norm = BatchNorm(2)
    norm(torch.randn(4, 2, 8, 8) * 7)
    reset_running_statistics(norm)
    batches = [torch.randn(4, 2, 8, 8) + k for k in range(3)]
    for batch in batches:
        norm(batch)
    assert torch.allclose(norm.running_mean, torch.stack([b.mean(dim=(0, 2, 3)) for b in batches]).mean(0), atol=1e-6)


def test_an_unknown_mode_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'batch'"):
        set_norm_mode(UNet(CONFIG), "batch")  # type: ignore[arg-type]
