"""Which device and number format a computation uses, chosen at run time from a fixed table of device features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import nn

AMPERE = (8, 0)  # from this CUDA capability on, bfloat16 is computed in hardware


class DeviceError(Exception):
    """The wanted device is not there; the message says what to do."""


def exact_float32() -> None:
    """From now on float32 is float32 in all of this process's convolutions and matrix products on GPUs.

    cuDNN's default is TF32, which keeps 10 bits of 23: what a fingerprint calls fp32 would not score as a CPU does.
    The flags are all threads', so they are not taken back. Their newer names (`fp32_precision`) are not used: once
    these are set, torch 2.15 fails wherever a library reads the older ones.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def choose_device(wanted: str) -> torch.device:
    """Where "auto" is the first GPU where there is one, else the CPU; float32 is exact from then on.

    Raises:
        DeviceError: "cuda" is wanted and torch sees no GPU.
    """
    exact_float32()
    if wanted == "cuda" and not torch.cuda.is_available():
        raise DeviceError("scoring.device is 'cuda', but torch sees no GPU; use 'auto' or 'cpu'")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def computes_bf16(device: torch.device) -> bool:
    """Whether it computes bfloat16 in hardware: CUDA capability 8.0, CPUs with AMX or AVX512-BF16."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= AMPERE
    has = torch.cpu.get_capabilities()
    return bool(has.get("amx_tile") or has.get("avx512_bf16"))


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """Where "auto" is bfloat16 if it pays on the device, else float32.

    It pays wherever it is computed in hardware, but for CPUs with AVX512-FP16 and no AMX: Intel's, where a virtual
    machine hides AMX. There it is slower than float32, in torch and in OpenVINO (docs/benchmarks.md).
    """
    if wanted == "fp32":
        return torch.float32
    if wanted == "bf16":
        return torch.bfloat16
    pays = computes_bf16(device)
    if device.type != "cuda":
        has = torch.cpu.get_capabilities()
        pays = pays and bool(has.get("amx_tile") or not has.get("avx512_fp16"))
    return torch.bfloat16 if pays else torch.float32


M = TypeVar("M", bound=nn.Module)


def channels_last(module: M) -> M:
    """Lays the module's conv weights out for channels-last inputs, in place; several times faster on CPUs."""
    for parameter in module.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def rounded(module: M) -> M:
    """Rounds weights and biases to what bfloat16 holds, in place; they stay of their own type."""
    for parameter in module.parameters():
        parameter.data = parameter.data.to(torch.bfloat16).to(parameter.dtype)
    return module


def name_of(dtype: torch.dtype) -> str:
    """Short: "bf16" or "fp32", as in settings and fingerprints."""
    return "bf16" if dtype is torch.bfloat16 else "fp32"


@contextmanager
def cpu_threads(count: int) -> Iterator[int]:
    """Uses `count` CPU threads inside the block (0: as it is); yields the number in use."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield torch.get_num_threads()
    finally:
        torch.set_num_threads(before)
