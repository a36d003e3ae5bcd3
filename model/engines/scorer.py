"""Frames in, scores out: one preprocessing and one way of batching over any engine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from model import artifact as artifacts
from model.artifact import Artifact, ArtifactDamaged, WrongTeacher
from model.distillation import Learner
from model.engines.base import Engine, EngineError, OutOfMemory, Scored
from model.engines.pytorch import TorchEngine
from model.folding import fold
from model.images import Frame, InputSpec, Prepared, prepare
from model.network import ScoringNetwork
from model.precision import choose_device, choose_dtype
from model.score import paper
from model.teacher import load_teacher

FORMS = ("default", "paper")


class FrameScorer:
    """Scores frames with an engine. Not for several threads at once.

    Attributes:
        spec: the model's input.
        fingerprint: device kind, precision, engine, input and form: what a certificate is bound to.
        artifact_sha256: the model file.
    """

    def __init__(self, engine: Engine, spec: InputSpec, *, artifact_sha256: str, form: str):
        self._engine, self.spec, self.artifact_sha256 = engine, spec, artifact_sha256
        self._most = engine.sizes[-1]
        height, width = spec.canvas
        self.fingerprint = f"{engine.name}/{spec.fit}-{height}x{width}/{form}"

    def warm_up(self) -> None:
        """Scores made-up frames, so that the first real one does not wait."""
        height, width = self.spec.canvas
        grey = np.full((height, width, 3), 127, np.uint8)
        for size in self._engine.sizes:
            self.score([grey] * size)

    def score(self, frames: Sequence[Frame]) -> list[Scored]:
        """Scores frames (uint8 H_i x W_i x 3, RGB, any sizes), in order.

        A batch that does not fit is halved, and none is larger from then on.

        Raises:
            InputError: a frame that is no uint8 H x W x 3, or too small for the region.
            OutOfMemory: not even one frame fits.
        """
        inputs = [prepare(frame, self.spec) for frame in frames]
        found: list[Scored] = []
        while len(found) < len(inputs):
            try:
                found += self._chunk(inputs[len(found) : len(found) + self._most])
            except OutOfMemory:
                tried = min(self._most, len(inputs) - len(found))
                if tried == 1:
                    raise
                self._most = tried // 2
        return found

    def _chunk(self, inputs: Sequence[Prepared]) -> list[Scored]:
        tiles = np.concatenate([one.tiles for one in inputs])
        mask = None
        if self.spec.masked:
            everywhere = np.ones(self.spec.canvas, np.bool_)
            mask = np.stack([everywhere if one.mask is None else one.mask for one in inputs])
        scores, maps, features = self._engine.run(tiles, mask)
        # A runtime's maximum may pass over what is no number, and name the rest's: such a frame has no score.
        whole = np.isfinite(maps).all((1, 2)) & np.isfinite(features).all(1)
        scores = np.where(whole, scores, np.nan)
        return [Scored(*row) for row in zip(scores.tolist(), maps, features, strict=True)]


class Scorer(FrameScorer):
    """Scores frames with one artifact. Not for several threads at once.

    Args:
        artifact: the model version.
        weights: file with the teacher's weights; "" to look where `model.teacher` says.
        engine: "torch" or "openvino".
        device: "auto", "cpu" or "cuda".
        precision: "auto", "fp32", "bf16", or with OpenVINO "int8".
        threads: CPU threads; 0 leaves the library's number as it is.
        form: "default" or "paper" (see `model.score`).
        graphs: with torch on a GPU, see `model.engines.pytorch.TorchEngine`.

    Attributes:
        space: of the features, see `model.artifact.Manifest.space`.

    Raises:
        WrongTeacher: the teacher at hand has other weights than the one that the artifact was trained with.
        TeacherError, DeviceError, EngineError: the teacher, the device or the engine cannot be had.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        weights: str = "",
        engine: str = "torch",
        device: str = "auto",
        precision: str = "auto",
        threads: int = 0,
        form: str = "default",
        graphs: bool = True,
    ):
        network = scoring_network(artifact, weights, form)
        super().__init__(
            open_engine(
                network, artifact, engine=engine, device=device, precision=precision, threads=threads, graphs=graphs
            ),
            artifact.manifest.spec,
            artifact_sha256=hashlib.sha256(artifacts.to_bytes(artifact)).hexdigest(),
            form=form,
        )
        self.space = artifact.manifest.space


def scoring_network(artifact: Artifact, weights: str = "", form: str = "default") -> ScoringNetwork:
    """The network that an artifact describes: float32, on the CPU, BatchNorm folded, in evaluation mode.

    Raises:
        WrongTeacher, TeacherError: see `Scorer`.
        ArtifactDamaged: its student is another teacher's, or a part of it is missing.
        EngineError: an unknown form, or the paper's form of an artifact that has only a memory.
    """
    if form not in FORMS:
        raise EngineError(f"score form {form!r}: {' or '.join(FORMS)} is allowed")
    manifest = artifact.manifest
    teacher = load_teacher(manifest.teacher, weights, exact=manifest.exact)
    if teacher.sha256 != manifest.teacher_sha256:
        raise WrongTeacher(
            f"the model was trained with other weights of {manifest.teacher} "
            f"({manifest.teacher_sha256[:12]}) than those at hand ({teacher.sha256[:12]}); give that file"
        )
    parameters = paper() if form == "paper" else artifact.score
    learner = None
    if parameters.reconstructs:
        if not artifact.learner:
            raise EngineError("this model is a memory alone and has no paper score; train it further for one")
        learner = Learner(manifest.teacher)
        try:
            learner.load_state_dict(artifact.learner)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ArtifactDamaged(f"the model's student is not one of {manifest.teacher} ({reason})") from None
        fold(learner.eval())
    return ScoringNetwork(teacher, learner, parameters, manifest.spec).eval().requires_grad_(False)


def open_engine(
    network: ScoringNetwork,
    artifact: Artifact,
    *,
    engine: str,
    device: str,
    precision: str,
    threads: int,
    graphs: bool = True,
) -> Engine:
    """An engine for the network, which it takes over; arguments as of `Scorer`.

    Raises:
        DeviceError, EngineError: it cannot be had.
    """
    if engine == "torch":
        if precision == "int8":
            raise EngineError("int8 needs scoring.engine = 'openvino'")
        where = choose_device(device)
        return TorchEngine(network, where, choose_dtype(precision, where), threads, graphs=graphs)
    if engine != "openvino":
        raise EngineError(f"scoring.engine {engine!r}: 'torch' or 'openvino' is allowed")
    if device == "cuda":
        raise EngineError("scoring.engine 'openvino' runs on CPUs; use 'torch' for scoring.device = 'cuda'")
    from model.engines.openvino import OpenVinoEngine, wanted_precision
    from model.engines.openvino_graph import convert

    normals = artifact.normals.numpy() if wanted_precision(precision) == "int8" else None
    return OpenVinoEngine(convert(network, normals), network.spec, precision, threads)
