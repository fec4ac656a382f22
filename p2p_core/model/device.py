"""Which device a network runs on, by name."""

from __future__ import annotations

import torch

from p2p_core.errors import UsageError

__all__ = ["imitates_bf16", "named_device", "usable_device"]


def named_device(name: str) -> torch.device:
    """The device of this name, whether this machine has it or not. Raises `UsageError` for anything but cpu and cuda."""
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UsageError(f"There is no device {name!r}", remedy="Use cpu, cuda, or cuda:1 for the second GPU")
    return device


def usable_device(name: str) -> torch.device:
    """The device of this name; `auto` takes CUDA where there is one. Raises `UsageError` where this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = named_device(name)
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= num_gpus:
        raise UsageError(
            f"This machine has no device {name!r}: torch sees {num_gpus} CUDA devices",
            remedy="Use cpu, or look at `p2p doctor` for what torch can use here",
        )
    return device


def imitates_bf16(device: torch.device) -> bool:
    """Whether bf16 is slower than fp32 there: a training step took 64 s instead of 3 on a CPU with no more than AVX2."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() in ("NO AVX", "AVX2")
