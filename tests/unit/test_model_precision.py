"""Which number format a computation uses, by what the device can."""

from __future__ import annotations

import pytest
import torch

from model.precision import choose_dtype, computes_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("has", "computes", "pays"),
    [
        ((), False, False),
        (("avx512_fp16",), False, False),
        (("avx512_bf16",), True, True),  # AMD's
        (("avx512_bf16", "avx512_fp16"), True, False),  # Intel's, AMX hidden
        (("avx512_bf16", "avx512_fp16", "amx_tile"), True, True),
        (("amx_tile",), True, True),
    ],
)
def test_auto_is_bf16_where_it_pays(
    has: tuple[str, ...], computes: bool, pays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(has, True))
    assert computes_bf16(CPU) is computes
    assert choose_dtype("auto", CPU) is (torch.bfloat16 if pays else torch.float32)
    assert choose_dtype("bf16", CPU) is torch.bfloat16 and choose_dtype("fp32", CPU) is torch.float32
