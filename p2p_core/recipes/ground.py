"""Two views of the same ground."""

from __future__ import annotations

from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import UNetConfig
from p2p_core.model.losses import ObjectiveConfig
from p2p_core.recipes.recipe import MIRROR, run
from p2p_core.training.config import AugmentConfig, OptimiserConfig, RunConfig

__all__ = ["maps", "world"]


def maps() -> RunConfig:
    """Map <-> aerial photograph, either way: 1,096 pairs, 200 epochs, batch 1, jitter and mirror (paper, section 6.2).

    The pairs have 600 px and training sees 256 (spec, section 3), so the jitter is where the crop lies. Of a store of smaller
    tiles, `tile_px=286` leaves as much room as the paper's other tasks have.
    """
    return run("maps", num_pairs=1_096, epochs=200, batch_size=1, augment=MIRROR)


def world() -> RunConfig:
    """Shaded relief map -> Blue Marble, small enough to train on two CPU cores in minutes.

    Without norms, He weights and standardised input: a run of a thousand steps is too short to grow fine detail out of
    N(0, 0.02) (docs/log.md, "World recipe"). Mean and spread are those of the map's training tiles. High mountains and ice
    are rare and drawn more often.
    """
    return RunConfig(
        recipe="world",
        generator=UNetConfig(
            depth=5,
            base_width=24,
            max_widening=4,
            dropout=0.0,
            upsampling="resize",
            norm="none",
            initialisation="he",
            detail_width=8,
            input_mean=(0.33, 0.47, 0.53),
            input_std=(0.25, 0.175, 0.26),
        ),
        discriminator=PatchGANConfig(num_layers=3, base_width=16, norm="none", initialisation="he"),
        objective=ObjectiveConfig(reconstruction_weight=10.0),
        optimiser=OptimiserConfig(
            learning_rate=1e-3, decay_from=0.3, warm_up_images=200, max_gradient_norm=50.0, discriminator_share=0.3
        ),
        augment=AugmentConfig(crop_px=128),
        batch_size=4,
        budget_images=6_000,
        validate_every_images=1_000,
        checkpoint_every_images=1_000,
        log_every_images=100,
        oversample_rare=16,
        ema_images=300,
    )
