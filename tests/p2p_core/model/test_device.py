from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASK = "import torch; from p2p_core.model.device import imitates_bf16; print(imitates_bf16(torch.device('cpu')))"


@pytest.mark.parametrize(("capability", "imitates"), [("avx2", "True"), ("avx512", "False")])
def test_a_cpu_without_instructions_for_bf16_is_known(capability: str, imitates: str) -> None:
    import torch

    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability}
    if capability == "avx512" and torch.backends.cpu.get_cpu_capability() != "AVX512":
        pytest.skip("this CPU has no AVX-512")
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == imitates
