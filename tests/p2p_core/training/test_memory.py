"""What allocators say, each in its own words, becomes one message with sizes and advice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from p2p_core.config import replace
from p2p_core.errors import NoMemoryError
from p2p_core.model.generator import ResNetConfig
from p2p_core.recipes import facades
from p2p_core.training.memory import memory_advice

CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 1.2 GiB is free."
LIBRARY = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"


@pytest.mark.parametrize(
    ("error", "asked"),
    [(torch.OutOfMemoryError(CUDA), "; it asked for 2.00 GiB more"), (RuntimeError(LIBRARY), ""), (MemoryError(), "")],
)
def test_a_refusal_names_the_sizes_and_what_to_make_smaller(error: Exception, asked: str) -> None:
    with pytest.raises(NoMemoryError) as told, memory_advice(replace(facades(), batch_size=16)):
        raise error
    assert told.value.problem == (
        "There is not enough memory for this training (batch_size 16, augment.crop_px 256, generator.base_width 64, "
        f"discriminator.base_width 64, precision fp32{asked})"
    )
    assert told.value.remedy.endswith(
        "with less: --set batch_size=8, then --set precision=bf16, then --set generator.base_width=32"
    )  # a crop of 128 px is none for a U-Net of 8 levels


def test_what_pytorch_and_numpy_say_on_a_cpu_is_known() -> None:
    for ask, asked in ((torch.empty, "MiB"), (np.empty, "TiB")):
        with pytest.raises(NoMemoryError, match=rf"it asked for [\d.]+ {asked} more"), memory_advice(facades()):
            ask(1 << 45)


def test_only_what_can_be_smaller_is_advised() -> None:
    least = replace(facades(), batch_size=1, precision="bf16", generator=ResNetConfig(base_width=8))
    with pytest.raises(NoMemoryError) as told, memory_advice(least):
        raise MemoryError
    assert told.value.remedy.endswith("with less: --set augment.crop_px=128, then --set generator.base_width=4")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="expected scalar type"), memory_advice(facades()):
        raise RuntimeError("expected scalar type Float but found Half")
