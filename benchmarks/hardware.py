"""Name the machine a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

__all__ = ["hardware_name"]


def hardware_name() -> str:
    """For example 'NVIDIA H100 80GB HBM3' or 'AMD EPYC, 2 cores'."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_cpu_model()}, {os.cpu_count()} cores"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
