"""Engines agree: torch, with CUDA graphs and without, OpenVINO, any batch, tiles and masks."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from model.anomaly_map import blend, hann, smooth
from model.artifact import Artifact
from model.engines import EngineError, FrameScorer, OutOfMemory, Scorer
from model.engines.cuda_graphs import CudaGraphs
from model.engines.scorer import open_engine, scoring_network
from model.images import Frame, InputSpec, prepare
from model.precision import choose_device, computes_bf16
from model.score import components
from model.training import TrainingSettings, train
from tests.parts import needed
from tests.teachers import random_resnet18

PLAIN = InputSpec(64, 96)
MASKED = InputSpec(64, 64, fit="letterbox", rows=2, columns=1, overlap=0.25)
SPECS = {"plain": PLAIN, "masked-tiled": MASKED}
LIMIT = 0.001  # of the interquartile range


def product(count: int, seed: int = 0, defect: bool = False) -> list[Frame]:
    """A brushed plate with a ring, each a little elsewhere and otherwise lit; a defect is a dark scratch."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:72, :108]
    frames = []
    for _ in range(count):
        down, across = rng.normal(36, 1.5), rng.normal(54, 1.5)
        radius = np.hypot(rows - down, columns - across)
        brushed = rng.normal(0, 10, (72, 1)) + rng.normal(0, 6, (72, 108))
        grey = 120 + brushed + 60 * np.exp(-(((radius - 24) / 4) ** 2)) + rng.normal(0, 5)
        if defect:
            grey[30 + rng.integers(8) :, 50 : 53 + rng.integers(4)] -= 90
        tint = np.array([1.0, 0.95, 0.85])
        frames.append(np.clip(grey[..., None] * tint, 0, 255).astype(np.uint8))
    return frames


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return random_resnet18(tmp_path_factory.mktemp("teacher"))


@cache
def trained(spec: InputSpec, weights: str) -> Artifact:
    settings = TrainingSettings(
        teacher="resnet18", weights=weights, spec=spec, steps=4, batch_size=4, precision="fp32", threads=1, share=0.5
    )
    return train(product(12), settings)


@cache
def _converted(spec: InputSpec, weights: str) -> Any:
    from model.engines.openvino_graph import convert

    return convert(scoring_network(trained(spec, weights), weights))


def converted(spec: InputSpec, weights: str) -> Any:
    """An OpenVINO model of one's own in fp32: to convert one takes longer than to score with it."""
    return _converted(spec, weights).clone()


@pytest.fixture(scope="module", params=list(SPECS))
def artifact(request: pytest.FixtureRequest, weights: str) -> Artifact:
    return trained(SPECS[request.param], weights)


@pytest.fixture(scope="module")
def plain(weights: str) -> Artifact:
    return trained(PLAIN, weights)


@pytest.fixture(scope="module")
def reference(artifact: Artifact, weights: str) -> Scorer:
    return Scorer(artifact, weights=weights, device="cpu", precision="fp32", threads=1)


def spread(scores: Sequence[float]) -> float:
    low, high = np.quantile(scores, (0.25, 0.75))
    return float(high - low)


FRAMES = [*product(13, seed=1), *product(3, seed=2, defect=True)]


def assert_agreement(scorer: Scorer, reference: Scorer, sizes: Sequence[int]) -> None:
    wanted = reference.score(FRAMES)
    unit = spread([one.score for one in wanted[:13]])
    for size in sizes:
        found = [one for start in range(0, 16, size) for one in scorer.score(FRAMES[start : start + size])]
        for one, other in zip(found, wanted, strict=True):
            assert one.score == pytest.approx(other.score, abs=LIMIT * unit)
            assert float(np.abs(one.map - other.map).max()) < 10 * LIMIT * unit
            np.testing.assert_allclose(one.features, other.features, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_fp32_engines_agree_in_batches_of_1_3_and_16(
    engine: str, artifact: Artifact, reference: Scorer, weights: str
) -> None:
    if engine == "openvino":
        needed("openvino", "no OpenVINO here: its engine stays unproven")
    scorer = Scorer(artifact, weights=weights, engine=engine, precision="fp32", threads=1)
    assert_agreement(scorer, reference, (16, 3, 1))


def test_the_network_computes_what_the_scores_arithmetic_says(artifact: Artifact, weights: str) -> None:
    """The two halves, with their matrices, against the plain way: enlarge, blend, blur at full size."""
    network, spec, score = scoring_network(artifact, weights), artifact.manifest.spec, artifact.score
    inputs = [prepare(frame, spec) for frame in FRAMES[:2]]
    tiles = torch.from_numpy(np.concatenate([one.tiles for one in inputs]))
    masks = [one.mask for one in inputs if one.mask is not None]
    mask = torch.from_numpy(np.stack(masks)) if masks else None
    with torch.inference_mode():
        scores, maps, features = network(tiles, mask)
        levels = network.comparison.teacher(tiles.permute(0, 3, 1, 2))
        assert network.comparison.learner is not None
        student = network.comparison.learner(levels)
        raw = components(levels, student, score.scales, score.prototypes, (spec.height, spec.width))
        smoothed = (smooth(blend(raw, spec, hann(spec)), mask) - score.position.mean) / score.position.deviation
        wanted = (1 - score.share) * smoothed[:, 0] + score.share * smoothed[:, 1]
    inside = torch.ones_like(wanted, dtype=torch.bool) if mask is None else mask
    torch.testing.assert_close(maps[inside], wanted[inside], rtol=1e-4, atol=1e-4)
    for at in range(2):
        assert float(scores[at]) == pytest.approx(float(wanted[at][inside[at]].max()), abs=1e-4)
    assert features.shape == (2, 256)


@pytest.mark.parametrize("artifact", ["masked-tiled"], indirect=True)
def test_int8_ranks_as_fp32_does_and_is_the_same_again(artifact: Artifact, reference: Scorer, weights: str) -> None:
    needed("nncf", "no NNCF here: int8 scoring stays unproven")
    from importlib.metadata import version

    from model.engines.quantisation import has_all_bits

    options: dict[str, Any] = {"weights": weights, "engine": "openvino", "precision": "int8", "threads": 1}
    scorer, again = Scorer(artifact, **options), Scorer(artifact, **options)
    found = [one.score for one in scorer.score(FRAMES)]
    assert found == [one.score for one in again.score(FRAMES)]
    assert scorer.fingerprint.startswith(("cpu/int8+bf16/openvino-", "cpu/int8+fp32/openvino-"))
    assert f"+nncf-{version('nncf')}{'-w8' if has_all_bits() else ''}/" in scorer.fingerprint
    wanted = [one.score for one in reference.score(FRAMES)]
    assert found != wanted
    assert np.corrcoef(found[:13], wanted[:13])[0, 1] > 0.98
    assert min(found[13:]) > np.median(found[:13])


@pytest.mark.parametrize(("vnni", "most"), [(True, 127), (False, 64)])
def test_int8_leaves_the_score_in_floating_point_and_weights_that_cannot_overflow_all_bits(
    vnni: bool, most: int, plain: Artifact, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed("nncf", "no NNCF here: int8 scoring stays unproven")
    from model.engines.openvino_graph import convert, cut, quantiser

    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    network = scoring_network(plain, weights)
    model = convert(network, plain.normals.numpy())
    first = next(op for op in model.get_ordered_ops() if op.get_type_name() == "Constant" and op.data.dtype == np.int8)
    assert int(np.abs(first.data.astype(int)).max()) == pytest.approx(most, abs=1)
    assert str(quantiser(model)).endswith("-w8") is vnni, "scores differ, so names do"
    quantised = [op for op in model.get_ops() if op.get_type_name() == "FakeQuantize"]
    fed = {target.get_node().get_type_name() for op in quantised for target in op.output(0).get_target_inputs()}
    assert fed == {"Convolution"}
    convs = [op for op in model.get_ordered_ops() if op.get_type_name() in fed]
    sources = [{value.get_node().get_type_name() for value in conv.input_values()} for conv in convs]
    assert ["FakeQuantize" in kinds for kinds in sources] == [False] * 5 + [True] * (len(convs) - 5)  # from layer2 on
    assert not any(op.get_type_name() == "FakeQuantize" for op in cut(model)[1].get_ops())


def test_the_name_says_what_is_computed(plain: Artifact, weights: str) -> None:
    needed("openvino", "no OpenVINO here: its engine stays unproven")
    from model.engines.openvino import OpenVinoEngine

    spec = plain.manifest.spec
    asked = OpenVinoEngine(converted(spec, weights), spec, "bf16", 1)
    assert asked.name.split("/")[:2] == ["cpu", "bf16" if computes_bf16(torch.device("cpu")) else "fp32"]
    with pytest.raises(EngineError, match="not quantised"):
        OpenVinoEngine(converted(spec, weights), spec, "int8", 1)


def test_halves_run_apart_score_as_the_whole(artifact: Artifact, reference: Scorer, weights: str) -> None:
    """Where a CPU has bfloat16 the first half is computed in it, and scores are others; elsewhere the cut is tested."""
    needed("openvino", "no OpenVINO here: its engine stays unproven")
    from model.engines.openvino import OpenVinoEngine

    spec = artifact.manifest.spec
    engine = OpenVinoEngine(converted(spec, weights), spec, "bf16", 1)
    scorer = FrameScorer(engine, spec, artifact_sha256="", form="default")
    wanted = [one.score for one in reference.score(FRAMES)]
    found = [one.score for one in scorer.score(FRAMES)]
    if "/fp32/" in engine.name:
        assert found == pytest.approx(wanted, abs=LIMIT * spread(wanted[:13]))
    else:
        assert found != wanted
        assert np.corrcoef(found[:13], wanted[:13])[0, 1] > 0.98
        assert min(found[13:]) > max(found[:13])


def test_what_cannot_be_had_is_named(plain: Artifact, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(**options: Any) -> None:
        wanted = {"engine": "torch", "device": "cpu", "precision": "fp32", "threads": 1, **options}
        open_engine(scoring_network(plain, weights), plain, **wanted)

    for options, message in (
        ({"precision": "int8"}, "openvino"), ({"engine": "tensorrt"}, "'torch' or 'openvino'"),
        ({"engine": "openvino", "device": "cuda"}, "CPUs"),
        ({"engine": "openvino", "precision": "fp16"}, "fp16"),
    ):  # fmt: skip
        with pytest.raises(EngineError, match=message):
            opened(**options)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineError, match=r"pip install 'goodpart\[openvino\]'"):
        opened(engine="openvino")


class SmallEngine:
    """Has room for so many tiles, and scores a frame by its mean."""

    name = "cpu/fp32/fake-1"
    sizes = (1, 8)

    def __init__(self, room: int):
        self._room = room
        self.batches: list[int] = []

    def run(self, tiles: Frame, mask: npt.NDArray[np.bool_] | None) -> tuple[Any, Any, Any]:
        self.batches.append(len(tiles))
        if len(tiles) > self._room:
            raise OutOfMemory(f"{len(tiles)} tiles")
        means = tiles.mean((1, 2, 3), dtype=np.float32)
        return means, np.zeros((len(tiles), 64, 64), np.float32), np.zeros((len(tiles), 4), np.float32)


def test_a_batch_that_does_not_fit_is_halved_and_stays_so() -> None:
    engine = SmallEngine(room=3)
    scorer = FrameScorer(engine, InputSpec(64, 64), artifact_sha256="", form="default")
    frames = [np.full((64, 64, 3), grey, np.uint8) for grey in range(9)]
    assert [one.score for one in scorer.score(frames)] == list(range(9))
    assert engine.batches == [8, 4, 2, 2, 2, 2, 1]
    engine.batches.clear()
    assert [one.score for one in scorer.score(frames[:5])] == list(range(5))
    assert engine.batches == [2, 2, 1]


def test_no_room_for_one_frame_is_an_error() -> None:
    scorer = FrameScorer(SmallEngine(room=0), InputSpec(64, 64), artifact_sha256="", form="default")
    with pytest.raises(OutOfMemory):
        scorer.score([np.zeros((64, 64, 3), np.uint8)] * 3)


class BrokenEngine(SmallEngine):
    """Finite scores all along, whatever is wrong with the second frame's map and the third one's features."""

    def run(self, tiles: Frame, mask: npt.NDArray[np.bool_] | None) -> tuple[Any, Any, Any]:
        scores, maps, features = super().run(tiles, mask)
        maps[1, 5, 5], features[2, 1] = np.nan, np.inf
        return scores, maps, features


def test_a_frame_whose_map_or_features_are_not_finite_has_no_score() -> None:
    scorer = FrameScorer(BrokenEngine(room=8), InputSpec(64, 64), artifact_sha256="", form="default")
    found = [one.score for one in scorer.score([np.full((64, 64, 3), grey, np.uint8) for grey in range(4)])]
    np.testing.assert_array_equal(found, [0, np.nan, np.nan, 3])


@pytest.mark.parametrize(("engine", "precision"), [("torch", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")])
def test_what_a_network_cannot_compute_has_no_score(engine: str, precision: str, plain: Artifact, weights: str) -> None:
    """OpenVINO's maximum passes over NaN and is a number: a part of which nothing is known would pass."""
    if engine == "openvino":
        needed("openvino", "no OpenVINO here: its engine stays unproven")
    network = scoring_network(plain, weights)
    assert network.comparison.learner is not None
    *_, bias = (tensor for name, tensor in network.comparison.learner.named_parameters() if name.endswith("bias"))
    bias[0] = torch.inf
    opened = open_engine(network, plain, engine=engine, device="cpu", precision=precision, threads=1)
    assert np.isnan(FrameScorer(opened, PLAIN, artifact_sha256="", form="default").score(FRAMES[:1])[0].score)


class Logarithm(nn.Module):
    """Maps that are not finite where a frame is dark."""

    spec = PLAIN

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = (tiles.float().mean(3) - 100).log()
        return maps.flatten(1).amax(1), maps, tiles.float().mean((1, 2))


def test_what_an_onnx_graph_cannot_compute_has_no_score(tmp_path: Path) -> None:
    needed("onnxruntime", "no ONNX Runtime here: its engine stays unproven")
    from model.engines import onnx

    network: Any = Logarithm()
    onnx.write(network, tmp_path / "model.onnx")
    engine = onnx.OnnxEngine(tmp_path / "model.onnx", PLAIN, 1)
    bright, dark = (np.full((*PLAIN.canvas, 3), grey, np.uint8) for grey in (200, 30))
    found = FrameScorer(engine, PLAIN, artifact_sha256="", form="default").score([bright, dark])
    assert [bool(np.isnan(one.score)) for one in found] == [False, True]


def test_warming_up_tries_each_size() -> None:
    engine = SmallEngine(room=8)
    FrameScorer(engine, InputSpec(64, 64), artifact_sha256="", form="default").warm_up()
    assert engine.batches == [1, 8]


def test_graphs_are_recorded_for_sizes_up_to_the_largest() -> None:
    network: Any = None
    assert CudaGraphs(network, tiles=1, largest=64).sizes == (1, 8, 16, 32, 64)
    assert CudaGraphs(network, tiles=6, largest=64).sizes == (1, 8, 10)
    assert CudaGraphs(network, tiles=100, largest=64).sizes == (1,)


@pytest.fixture
def tf32() -> Iterator[None]:
    """cuDNN's default, and what any library may have switched on for matrix products."""
    backends: list[Any] = [torch.backends.cudnn, torch.backends.cuda.matmul]
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = True
    yield
    for backend, allowed in zip(backends, before, strict=True):
        backend.allow_tf32 = allowed


@pytest.mark.usefixtures("tf32")
def test_whoever_chooses_a_device_computes_float32_exactly() -> None:
    assert choose_device("cpu").type == "cpu"
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.conv.fp32_precision != "tf32"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("tf32")
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here: exact float32 on CUDA stays unproven")
def test_float32_on_a_gpu_is_no_tf32() -> None:
    choose_device("cuda")
    images, weight = torch.randn(2, 64, 32, 32), torch.randn(64, 64, 3, 3)
    left, right = torch.randn(2, 512, 512)
    exact = nn.functional.conv2d(images.double(), weight.double()), left.double() @ right.double()
    found = nn.functional.conv2d(images.cuda(), weight.cuda()), left.cuda() @ right.cuda()
    for one, wanted in zip(found, exact, strict=True):
        assert float((one.cpu() - wanted).abs().max() / wanted.abs().max()) < 1e-5  # TF32 is off by about 3e-4


@pytest.mark.skipif(
    not torch.cuda.is_available(),
    reason="no GPU here: CUDA graphs, pinned copies and bf16 scoring on CUDA stay unproven",
)
def test_cuda_graphs_score_as_eager_cuda_and_the_cpu_do(artifact: Artifact, reference: Scorer, weights: str) -> None:
    for graphs in (False, True):
        scorer = Scorer(artifact, weights=weights, device="cuda", precision="fp32", graphs=graphs)
        scorer.warm_up()
        assert_agreement(scorer, reference, (16, 3, 1))  # 3 is filled up to a recorded size
    fast = Scorer(artifact, weights=weights, device="cuda", precision="bf16")
    wanted = [one.score for one in reference.score(FRAMES)]
    assert np.corrcoef([one.score for one in fast.score(FRAMES)], wanted)[0, 1] > 0.98
