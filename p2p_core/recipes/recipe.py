"""What a recipe is: a function that returns a full run configuration, and the pair stores that it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from p2p_core.pairstore.manifest import DatasetSpec
from p2p_core.training.config import AugmentConfig, RunConfig

__all__ = ["JITTER_AND_MIRROR", "MIRROR", "NEITHER", "Recipe", "StoreKind", "run"]

JITTER_AND_MIRROR = AugmentConfig(resize_px=286, crop_px=256)
"""286 px, a crop of 256, half of them mirrored (paper, section 6.2; spec, section 2)."""

MIRROR = AugmentConfig(crop_px=256)
"""Of pairs larger than 256 px the crop is a random one here too: a jitter without a resize."""

NEITHER = AugmentConfig(crop_px=256, mirror=False)

_MOST_CHECKPOINTS = 200


@dataclass(frozen=True)
class StoreKind:
    """Stores that a recipe trains on.

    Attributes:
        builder: by its name in `preprocessing.builders`.
        inputs, targets: encodings; `one_hot:*` stands for any palette, `*` for all.
        command: what follows `p2p build BUILDER` to make such a store.
    """

    builder: str
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    command: str

    def holds(self, store: DatasetSpec) -> bool:
        return (
            store.builder == self.builder
            and any(fnmatchcase(store.input_encoding, name) for name in self.inputs)
            and any(fnmatchcase(store.target_encoding, name) for name in self.targets)
        )

    def __str__(self) -> str:
        return f"`{self.builder}`, {' or '.join(self.inputs)} -> {' or '.join(self.targets)}"

    @property
    def build_command(self) -> str:
        return f"p2p build {self.builder} {self.command}"


@dataclass(frozen=True)
class Recipe:
    """`make` returns the configuration; its docstring names the source of every number. `stores[0]` is the usual one."""

    make: Callable[[], RunConfig]
    task: str
    stores: tuple[StoreKind, ...]

    def fits(self, store: DatasetSpec) -> bool:
        return any(kind.holds(store) for kind in self.stores)


def run(recipe: str, *, num_pairs: int, epochs: int, batch_size: int, augment: AugmentConfig) -> RunConfig:
    """A run of the paper's networks, objective and optimiser over so many epochs of so many pairs.

    It is validated and checkpointed every 4,000 images, or 200 times where that would be oftener.
    """
    budget_images = num_pairs * epochs
    every_images = max(4_000, budget_images // _MOST_CHECKPOINTS)
    return RunConfig(
        recipe=recipe,
        augment=augment,
        batch_size=batch_size,
        budget_images=budget_images,
        validate_every_images=every_images,
        checkpoint_every_images=every_images,
    )
