"""What runtimes raise where memory runs out: a smaller batch is tried, and the engine goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from model.engines import Engine, FrameScorer, OutOfMemory
from model.engines.base import memory_errors
from model.engines.pytorch import TorchEngine
from model.images import Frame, InputSpec
from tests.parts import needed

if TYPE_CHECKING:
    from model.engines.openvino import OpenVinoEngine

SPEC = InputSpec(64, 64)
TOO_MUCH = 1 << 46  # float32 values: more than any address space holds
ROOM = 2  # frames


class Half(nn.Module):
    teacher, learner = nn.Module(), None


class Greedy(nn.Module):
    """Scores frames by their brightest value, and wants more memory than there is for more than `ROOM` of them."""

    spec = SPEC

    def __init__(self) -> None:
        super().__init__()
        self.comparison = Half()
        self.comparison.teacher.encoder = nn.Identity()

    def forward(self, tiles: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        if len(tiles) > ROOM:
            torch.empty(TOO_MUCH)
        return tiles.flatten(1).amax(1).float(), torch.zeros(len(tiles), *SPEC.canvas), torch.zeros(len(tiles), 4)


def openvino_engine() -> OpenVinoEngine:
    """Scores black frames, and fails at others: they would have tensors of more values than it can count."""
    needed("openvino", "no OpenVINO here: how it fails stays unproven")
    from model.engines.openvino import OpenVinoEngine
    from model.engines.openvino_graph import library

    ov = library()
    ops = ov.opset14
    tiles = ops.parameter([1, *SPEC.canvas, 3], np.uint8)
    brightest = ops.convert(ops.reduce_max(tiles, ops.constant(np.arange(4)), keep_dims=False), "i64")
    size = ops.add(ops.multiply(brightest, ops.constant(np.array([1 << 23, 1 << 23]))), ops.constant(1))
    filled = ops.broadcast(ops.constant(np.float32(3)), size)
    most = ops.reduce_max(ops.relu(filled), ops.constant(np.arange(2)), keep_dims=False)
    score = ops.reshape(most, ops.constant(np.array([1])), special_zero=False)
    rest = [ops.constant(np.zeros(shape, np.float32)) for shape in ((1, *SPEC.canvas), (1, 4))]
    # Two threads: with one, OpenVINO 2026.4 says nothing of a shape that it cannot have.
    return OpenVinoEngine(ov.Model([score, *rest], [tiles]), SPEC, "fp32", 2)


def onnx_engine(folder: Path) -> Engine:
    """Scores black frames one at a time, and wants more memory than there is for others."""
    needed("onnxruntime", "no ONNX Runtime here: its want of memory stays unproven")
    onnx = needed("onnx", "no onnx here: ONNX Runtime's want of memory stays unproven")
    from model.engines.onnx import OUTPUTS, OnnxEngine

    make, number = onnx.helper, onnx.TensorProto
    constants = {
        "much": np.array([TOO_MUCH]), "one": np.array([1]),
        "maps": np.zeros((1, *SPEC.canvas), np.float32), "features": np.zeros((1, 4), np.float32),
    }  # fmt: skip
    nodes = [
        make.make_node("Cast", ["tiles"], ["values"], to=number.INT64),
        make.make_node("ReduceMax", ["values"], ["brightest"], keepdims=0),
        make.make_node("Mul", ["brightest", "much"], ["wanted"]),
        make.make_node("Add", ["wanted", "one"], ["size"]),
        make.make_node("ConstantOfShape", ["size"], ["filled"]),
        make.make_node("Relu", ["filled"], ["positive"]),
        make.make_node("ReduceMax", ["positive"], ["scores"], keepdims=1),
    ]
    graph = make.make_graph(
        nodes, "greedy",
        [make.make_tensor_value_info("tiles", number.UINT8, [1, *SPEC.canvas, 3])],
        [make.make_tensor_value_info(name, number.FLOAT, None) for name in OUTPUTS],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    path = folder / "greedy.onnx"
    onnx.save(make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8), path)
    return OnnxEngine(path, SPEC, 1)


def frames(*greys: int) -> Frame:
    return np.stack([np.full((*SPEC.canvas, 3), grey, np.uint8) for grey in greys])


def test_torch_scores_smaller_batches() -> None:
    greedy: nn.Module = Greedy()
    engine = TorchEngine(greedy, torch.device("cpu"), torch.float32)  # type: ignore[arg-type]
    scorer = FrameScorer(engine, SPEC, artifact_sha256="", form="default")
    assert [one.score for one in scorer.score(list(frames(*range(9))))] == list(range(9))


def test_openvino_goes_on_after_a_frame_that_failed() -> None:
    engine = openvino_engine()
    for bad in ((1,), (0, 1, 0, 0), *((1, 0, 1, 0, 0),) * 20):  # frames behind the failed one are under way still
        with pytest.raises(RuntimeError, match="Broadcast"):
            engine.run(frames(*bad), None)
        assert engine.run(frames(0), None)[0].tolist() == [3]
        assert engine.run(frames(0, 0, 0), None)[0].tolist() == [3] * 3


def test_openvino_without_memory_has_frames_scored_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = openvino_engine()
    (stage,) = engine._stages

    class Full:
        def __iter__(self) -> Iterator[object]:
            return iter(())

        def start_async(self, *_: object, **__: object) -> None:
            raise RuntimeError("Exception from cpu_memory.cpp:257:\nFailed to allocate 34359738368 bytes of memory")

    monkeypatch.setattr("model.engines.openvino._queue", lambda compiled: Full())
    stage._queue = Full()
    scorer = FrameScorer(engine, SPEC, artifact_sha256="", form="default")
    assert [one.score for one in scorer.score(list(frames(0, 0, 0)))] == [3] * 3


def test_onnx_runtime_says_that_it_had_no_memory(tmp_path: Path) -> None:
    engine = onnx_engine(tmp_path)
    with pytest.raises(OutOfMemory, match="allocate"):
        engine.run(frames(1), None)
    assert engine.run(frames(0), None)[0].tolist() == [0]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(), RuntimeError("std::bad_alloc"), torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to"),
        RuntimeError("CUDA error: out of memory"), RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)  # fmt: skip
def test_other_ways_of_saying_it_are_known(error: Exception) -> None:
    with pytest.raises(OutOfMemory), memory_errors():
        raise error


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_errors():
        raise RuntimeError("shapes do not agree")
