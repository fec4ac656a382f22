"""Everything that decides a training run, in one frozen value. A run is a function that returns one (`p2p_core.recipes`)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from p2p_core.config import Config, replace
from p2p_core.model.discriminator import PatchGANConfig
from p2p_core.model.generator import GeneratorConfig, UNetConfig
from p2p_core.model.losses import ObjectiveConfig

__all__ = ["AugmentConfig", "OptimiserConfig", "RunConfig"]


class OptimiserConfig(Config):
    """Adam for both networks (paper, section 3.3).

    Attributes:
        decay_from: fraction of the budget after which the learning rate falls linearly towards 0. 1.0 is the paper's
            constant rate, 0.5 the PyTorch port's schedule.
        warm_up_images: the learning rate rises linearly over so many images; 0 starts at the full rate.
        max_gradient_norm: a network's gradients are scaled down to this norm where they exceed it; 0 leaves them, as the
            paper does. Networks without norms need it: one steep batch can throw them off for good.
        discriminator_share: D's learning rate as a share of G's (Heusel et al., 2017, let the two differ).
    """

    learning_rate: float = Field(2e-4, gt=0)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    decay_from: float = Field(1.0, ge=0, le=1)
    warm_up_images: int = Field(0, ge=0)
    max_gradient_norm: float = Field(0.0, ge=0)
    discriminator_share: float = Field(1.0, gt=0)

    def learning_rate_at(self, progress: float) -> float:
        """Learning rate when this fraction of the budget has been seen. Positive until the budget is spent."""
        if progress <= self.decay_from or self.decay_from >= 1:
            return self.learning_rate
        return self.learning_rate * (1 - progress) / (1 - self.decay_from)

    def warm_up_at(self, images_seen: int) -> float:
        """Share of the learning rate in force once so many images have been seen; 1 after the warm-up."""
        return min(1.0, images_seen / self.warm_up_images) if self.warm_up_images else 1.0


class AugmentConfig(Config):
    """Jitter and mirror, the same for both images of a pair (paper, section 6.2).

    Attributes:
        resize_px: pairs are resized to this square before the crop (286 in the paper); None leaves them. Pairs of a store
            with room for jitter (`DatasetSpec.jitter_px`) are never resized: they have the pixels already.
        crop_px: side of the random crop the networks see (256 in the paper).
        mirror: flip left-right with probability 0.5.
    """

    resize_px: int | None = Field(None, ge=1)
    crop_px: int = Field(256, ge=1)
    mirror: bool = True


class RunConfig(Config):
    """One training run.

    Attributes:
        recipe: the name of the function that made it.
        discriminator: of runs with an adversarial objective; others have none, whatever this says.
        budget_images: how many images training sees in all. Progress, schedules and intervals count images too, so
            that the batch size never changes what a number means.
        validate_every_images, checkpoint_every_images: 0 means only at the end.
        oversample_rare: pairs whose input shows colours that are rare in the store come up to so many times an epoch
            (`training.balance`); 1 takes every pair once, as the paper does.
        log_every_images: losses are averaged over so many images and logged.
        ema_images: half-life, in images, of the exponential moving average of the generator's weights that becomes the
            model; 0 takes the last weights, as the paper does.
        precision: `bf16` runs the networks under autocast; weights and optimisers stay fp32.
        alarms: what to do when the run's own numbers say that it diverges or collapses (`training.alarms`): `stop` it, `warn`
            and go on, or `off`. Changes nothing that is learned.
        resident_gb: training pairs that need more memory than this, in 10^9 bytes, are read while the networks learn; None for
            half of what is free. Changes nothing that is learned.
        compile: `torch.compile` the networks first. Needs a C++ compiler and a minute, so it pays in runs of several.
    """

    recipe: str
    generator: GeneratorConfig = UNetConfig()
    discriminator: PatchGANConfig = PatchGANConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    augment: AugmentConfig = AugmentConfig()
    batch_size: int = Field(1, ge=1)
    budget_images: int = Field(80_000, ge=1)
    validate_every_images: int = Field(4_000, ge=0)
    checkpoint_every_images: int = Field(4_000, ge=0)
    log_every_images: int = Field(200, ge=1)
    oversample_rare: int = Field(1, ge=1)
    ema_images: float = Field(0.0, ge=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    resident_gb: float | None = Field(None, ge=0)
    compile: bool = False
    alarms: Literal["off", "warn", "stop"] = "warn"
    seed: int = 0

    @field_validator("alarms", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: object) -> object:
        """YAML 1.1, which `--set alarms=off` is read as, takes it for False."""
        return "off" if value is False else value

    def for_channels(self, inputs: int, targets: int) -> RunConfig:
        """The same run with networks as wide as a store's encodings. Raises `ConfigError` where the rest does not fit them."""
        return replace(
            self,
            generator=replace(self.generator, input_bands=inputs, output_bands=targets),
            discriminator=replace(self.discriminator, input_bands=inputs, target_bands=targets),
        )

    @property
    def is_adversarial(self) -> bool:
        """Whether there is a discriminator."""
        return self.objective.adversarial != "none"

    @model_validator(mode="after")
    def _crop_fits_the_networks(self) -> Self:
        crop_px = self.augment.crop_px
        if crop_px % self.generator.lattice_px:
            raise ValueError(
                f"augment.crop_px {crop_px} is not a multiple of the generator's lattice, {self.generator.lattice_px} px "
                f"({self.generator.description})"
            )
        if crop_px < self.generator.smallest_px:
            raise ValueError(f"augment.crop_px {crop_px} is smaller than the generator's {self.generator.smallest_px} px")
        if self.is_adversarial and crop_px < self.discriminator.smallest_px:
            raise ValueError(
                f"augment.crop_px {crop_px} gives a discriminator of {self.discriminator.num_layers} layers no patch to judge; "
                f"it needs {self.discriminator.smallest_px} px, or fewer discriminator.num_layers"
            )
        if self.augment.resize_px is not None and self.augment.resize_px < crop_px:
            raise ValueError(f"augment.resize_px {self.augment.resize_px} is smaller than augment.crop_px")
        return self
