"""Where vLLM runs at all. Equality with the reference decoder is asserted in float32, which it computes everywhere."""

import platform

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def processor_of_vllm() -> None:
    """vLLM's build for x86 processors has kernels for AVX2 and for AVX512 only."""
    if platform.machine() in ("x86_64", "AMD64") and not torch.cpu.get_capabilities().get("avx2"):
        pytest.skip("vLLM runs on processors with AVX2 only, and this one lacks it")
