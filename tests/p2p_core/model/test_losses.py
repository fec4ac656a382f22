"""The objective is the paper's: equations 1 to 4 with the non-saturating generator loss."""

from __future__ import annotations

import math

import pytest
import torch

from p2p_core.model.losses import adversarial_loss, discriminator_loss


def test_cross_entropy_is_log_two_for_an_undecided_discriminator() -> None:
    logits = torch.zeros(2, 1, 6, 6)
    assert float(adversarial_loss(logits, real=True, kind="cross_entropy")) == pytest.approx(math.log(2))
    assert float(discriminator_loss(logits, logits, "cross_entropy")) == pytest.approx(math.log(2))


def test_generator_loss_keeps_its_gradient_when_the_discriminator_is_sure() -> None:
    """Non-saturating: -log D, not log(1 - D), whose gradient would be near zero here."""
    logits = torch.full((1, 1, 2, 2), -10.0, requires_grad=True)
    adversarial_loss(logits, real=True, kind="cross_entropy").backward()
    assert logits.grad is not None
    assert float(logits.grad.sum()) == pytest.approx(-1, abs=1e-3)


def test_least_squares_is_zero_for_a_right_answer() -> None:
    assert float(discriminator_loss(torch.ones(1, 1, 3, 3), torch.zeros(1, 1, 3, 3), "least_squares")) == 0
