"""What to say when a training needs more memory than there is: which sizes it had, and which to make smaller first."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from p2p_core.errors import NoMemoryError
from p2p_core.training.config import RunConfig

__all__ = ["memory_advice"]

_REFUSALS = re.compile(r"can't allocate memory|cannot allocate memory|out of memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)
"""How the allocators of PyTorch, oneDNN, C++ and CUDA's libraries put it; they have no exception in common."""


@contextmanager
def memory_advice(config: RunConfig) -> Iterator[None]:
    """Turn an allocator's refusal, on a CPU or a GPU, into `NoMemoryError`. Every other error passes."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _advice(config, error) from error
    except RuntimeError as error:
        if not _REFUSALS.search(str(error)):
            raise
        raise _advice(config, error) from error


def _advice(config: RunConfig, error: Exception) -> NoMemoryError:
    sizes = {
        "batch_size": config.batch_size,
        "augment.crop_px": config.augment.crop_px,
        "generator.base_width": config.generator.base_width,
        **({"discriminator.base_width": config.discriminator.base_width} if config.is_adversarial else {}),
        "precision": config.precision,
    }
    asked = re.search(r"allocate ([\d.]+) ?(\w+)", str(error))
    amount = f"{int(asked[1]) / 2**20:.0f} MiB" if asked and asked[2] == "bytes" else f"{asked[1]} {asked[2]}" if asked else ""
    more = f"; it asked for {amount} more" if amount else ""
    return NoMemoryError(
        f"There is not enough memory for this training ({', '.join(f'{k} {v}' for k, v in sizes.items())}{more})",
        remedy="Free memory and go on with --resume, or begin in a new run directory with less: "
        + ", then ".join(f"--set {setting}" for setting in _smaller(config)),
    )


def _smaller(config: RunConfig) -> list[str]:
    """What costs the model least comes first."""
    crop_px = config.augment.crop_px // 2 // config.generator.lattice_px * config.generator.lattice_px
    settings = [f"batch_size={config.batch_size // 2}"] if config.batch_size > 1 else []
    settings += ["precision=bf16"] if config.precision == "fp32" else []
    settings += [f"augment.crop_px={crop_px}"] if crop_px else []
    return [*settings, f"generator.base_width={max(1, config.generator.base_width // 2)}"]
