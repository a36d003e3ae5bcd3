"""Post-training quantisation of the convolutions to int8, by NNCF (Kozlov et al. 2020). Needs the `openvino` extra."""

from __future__ import annotations

import io
import logging
import os
from contextlib import redirect_stdout
from functools import partial
from itertools import takewhile
from typing import Any

import torch

from model.engines.tracing import missing
from model.images import Frame

CONVS = ("Convolution", "GroupConvolution")
NO_OPERATION = ("Constant", "Parameter", "Result")


def library() -> Any:
    """The nncf module, silent.

    Raises:
        EngineError: it is not installed.
    """
    os.environ.setdefault("NNCF_CI", "1")  # no telemetry
    try:
        import nncf
    except ImportError:
        raise missing("openvino") from None
    nncf.set_log_level(logging.WARNING)
    return nncf


def quantise(model: Any, normals: Frame) -> Any:
    """Quantises the convolutions' inputs and weights; all else stays in floating point.

    So do the teacher's convolutions down to stride 4, whose sums all later ones rest on (quantised, they cost one model
    of aitex_f03 0.3 points of image and 0.4 of pixel AUROC; left out, 0.1 and none), residual sums, distances and the
    memory's search: a score is made of small differences. Weights have all 8 bits where `has_all_bits`; else the first
    layers get 7, for sums of 16 bits that shall not overflow (these cost that model twice the change of scores).

    Args:
        model: the OpenVINO model of a `model.network.Comparison`.
        normals: uint8 n x height x width x 3, all tiles of good parts, part by part: the layers' ranges are measured
            on these.
    """
    nncf = library()
    convs = [op for op in model.get_ordered_ops() if op.get_type_name() in CONVS]
    first = [op.get_friendly_name() for op in takewhile(partial(_large, model.inputs[0].shape[1]), convs)]
    kept = [op.get_friendly_name() for op in model.get_ops() if op.get_type_name() not in (*CONVS, *NO_OPERATION)]
    each = model.inputs[0].shape[0]  # tiles of a frame
    parts = normals.reshape(-1, each, *normals.shape[1:])
    with redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(list(parts)),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(parts),
            # The widest range that any tile had, not the tiles' mean: defects reach beyond what is normal.
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.DISABLE if has_all_bits() else nncf.OverflowFix.FIRST_LAYER,
                activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
            ),
            ignored_scope=nncf.IgnoredScope(names=[*kept, *first], validate=False),
        )


def has_all_bits() -> bool:
    """Whether this CPU has AVX512-VNNI, which adds up products of int8 in 32 bits."""
    return bool(torch.cpu._is_vnni_supported())


def _large(height: int, conv: Any) -> bool:
    """Whether a convolution's output has at least a quarter of the input's height."""
    return 4 * int(conv.output(0).get_partial_shape()[2].get_length()) >= height
