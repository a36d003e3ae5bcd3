"""One model version as one .safetensors file: learner, score, memory, a few normals, manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.images import InputError, InputSpec
from model.score import ScoreParameters
from model.weights import not_finite

FORMAT = 3
OLDEST = 2  # that is still read; its teacher's weights were not rounded
FIELDS = {  # of the manifest, as JSON has them
    "teacher": str, "teacher_sha256": str, "spec": dict, "data_sha256": str, "parent_sha256": str, "settings": dict,
    "versions": dict, "weights_sha256": str, "format": int,
}  # fmt: skip
KEY = "goodpart"  # one metadata key with canonical JSON: with several, their order changes the file


class ArtifactError(Exception):
    """A model file that cannot be used; the message says why."""


class ArtifactDamaged(ArtifactError):
    """Its bytes are not what was written, or what was written are no numbers to compute with."""


class ArtifactNewer(ArtifactError):
    """Written by a newer program."""


class ArtifactOlder(ArtifactError):
    """Written by an older program whose format is no longer read."""


class WrongTeacher(ArtifactError):
    """Made with other teacher weights than those at hand."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the tensors are, and all that made them.

    Attributes:
        teacher: name, as `model.teacher.kind_of` takes it.
        teacher_sha256: its weights file.
        spec: the model's input.
        data_sha256: of the training images' pixel hashes, sorted.
        parent_sha256: weights of the model that training started from; "" for fresh ones.
        settings: of the training run.
        versions: of the libraries.
        weights_sha256: over the tensors, sorted by name.
        format: of this file.
    """

    teacher: str
    teacher_sha256: str
    spec: InputSpec
    data_sha256: str
    parent_sha256: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    weights_sha256: str
    format: int = FORMAT

    @property
    def exact(self) -> bool:
        """Whether its teacher's weights are as their file has them, and not rounded to bfloat16."""
        return self.format < 3

    @property
    def space(self) -> str:
        """Of the teacher's pooled features: SHA-256 of its weights and the input; those of another are no match."""
        made_with = {"teacher": self.teacher_sha256, "input": asdict(self.spec)}
        return hashlib.sha256(json.dumps(made_with, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model version in memory.

    Attributes:
        manifest: see there.
        tensors: on the CPU, by name: `learner.*`, `score.*` and `normals`.
    """

    manifest: Manifest
    tensors: Mapping[str, Tensor]

    @property
    def learner(self) -> dict[str, Tensor]:
        """The learner's state; empty where only the memory counts."""
        return _under("learner.", self.tensors)

    @property
    def score(self) -> ScoreParameters:
        """The default score."""
        return ScoreParameters.from_tensors(_under("score.", self.tensors))

    @property
    def normals(self) -> Tensor:
        """A few training tiles, uint8 n x height x width x 3: engines that quantise measure their ranges on them."""
        return self.tensors["normals"]


def assemble(learner: Mapping[str, Tensor], score: ScoreParameters, normals: Tensor) -> dict[str, Tensor]:
    """An artifact's tensors."""
    parts = {f"learner.{name}": tensor for name, tensor in learner.items()}
    parts |= {f"score.{name}": tensor for name, tensor in score.to_tensors().items()}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in {**parts, "normals": normals}.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def to_bytes(artifact: Artifact) -> bytes:
    """The file's bytes; the same artifact always gives the same."""
    manifest = artifact.manifest.to_dict()
    tensors = {name: tensor.contiguous() for name, tensor in artifact.tensors.items()}
    return bytes(save_tensors(tensors, {KEY: _canonical({"manifest": manifest, "sha256": _digest(manifest)})}))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(manifest).encode()).hexdigest()


def from_bytes(data: bytes) -> Artifact:
    """Reads and checks a model file.

    Raises:
        ArtifactNewer, ArtifactOlder: of a format that is not read.
        ArtifactDamaged: anything else that is not what was written.
    """
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header["__metadata__"]
        manifest = _manifest(json.loads(metadata[KEY]))
        if metadata.keys() != {KEY}:
            raise ValueError("it says more than was written")
        artifact = Artifact(manifest, tensors)
        _ = artifact.score, artifact.normals
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, InputError) as error:
        raise ArtifactDamaged(f"not a model file of goodpart, or damaged ({error})") from None
    if weights_sha256(tensors) != manifest.weights_sha256:
        raise ArtifactDamaged("the model file's weights are not what its manifest says; fetch it again")
    if broken := not_finite(tensors):
        raise ArtifactDamaged(f"the model file holds numbers that are not finite ({broken}); train again")
    return artifact


def _manifest(record: Any) -> Manifest:
    if not isinstance(record, dict):
        raise TypeError("its manifest is no object")
    found = record.get("manifest", record)  # formats before 2 had no checksum of the manifest
    if found["format"] > FORMAT:
        raise ArtifactNewer(f"the model file has format {found['format']}, this program reads {FORMAT}: update it")
    if found["format"] < OLDEST:
        raise ArtifactOlder(f"the model file has format {found['format']}, this program reads {OLDEST}: train again")
    if _digest(found) != record["sha256"]:
        raise ArtifactDamaged("the model file's manifest is not what was written; fetch it again")
    if {name: type(value) for name, value in found.items()} != FIELDS or record.keys() != {"manifest", "sha256"}:
        raise ValueError("its manifest has other fields than this program writes")
    return Manifest(**{**found, "spec": InputSpec(**found["spec"])})


def save(artifact: Artifact, path: Path) -> str:
    """Writes the file whole or not at all; returns its SHA-256."""
    data = to_bytes(artifact)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return hashlib.sha256(data).hexdigest()


def load(path: Path) -> Artifact:
    """Reads and checks a model file.

    Raises:
        ArtifactError: it is not there, or see `from_bytes`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        return from_bytes(data)
    except ArtifactError as error:
        raise type(error)(f"{path}: {error}") from None
