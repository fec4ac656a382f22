"""What each norm mode means (spec, "Normalisation at test time")."""

from __future__ import annotations

import pytest
import torch

from p2p_core.errors import ConfigError
from p2p_core.model.generator import Generator, ResNetConfig, UNet, UNetConfig, make_generator
from p2p_core.model.norm import BatchNorm, reset_running_statistics, set_norm_mode

CONFIG = UNetConfig(depth=4, base_width=8, dropout=0.0)


@pytest.fixture(params=[CONFIG, ResNetConfig(num_blocks=2, base_width=16)], ids=lambda config: config.kind)
def trained(request: pytest.FixtureRequest) -> Generator:
    """Weights with a life behind them: random scales, and running statistics from real batches."""
    torch.manual_seed(0)
    net = make_generator(request.param)
    for module in net.modules():
        if isinstance(module, BatchNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.uniform_(module.bias, -1, 1)
    with torch.no_grad():
        for _ in range(8):
            net(torch.randn(4, 3, 64, 64))
    return net


@torch.no_grad()
def test_instance_mode_equals_batch_statistics_at_batch_one_whatever_the_batch(trained: Generator) -> None:
    images = torch.randn(5, 3, 64, 64)
    trained.train()
    alone = torch.cat([trained(image[None]) for image in images])
    set_norm_mode(trained, "instance")
    together = trained.eval()(images)
    assert float((together - alone).abs().max()) < 1e-5  # kernels of some widths round by the batch size
    assert torch.equal(torch.cat([trained(image[None]) for image in images]), alone)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(1, 8, 2, 2), (5, 64, 32, 32), (10, 3, 17, 40)])
def test_an_instance_norm_is_a_batch_norm_at_batch_one_bit_for_bit(shape: tuple[int, ...]) -> None:
    """The difference of 0.0 of the spec, at any batch size: with the batch norm's own scale and shift."""
    torch.manual_seed(0)
    norm = BatchNorm(shape[1])
    torch.nn.init.uniform_(norm.bias, -1, 1)
    features = torch.randn(shape) * 3 + 1
    alone = torch.cat([norm.train()(one[None]) for one in features])
    set_norm_mode(norm.eval(), "instance")
    assert torch.equal(norm(features), alone)


@torch.no_grad()
def test_batch_statistics_make_an_output_depend_on_its_neighbours(trained: Generator) -> None:
    """The trap the modes exist for: if this fails, the test above proves nothing."""
    images = torch.randn(5, 3, 64, 64)
    trained.train()
    assert float((trained(images)[:1] - trained(images[:1])).abs().max()) > 1e-2


@torch.no_grad()
def test_frozen_mode_is_another_function_than_instance_mode(trained: Generator) -> None:
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
