"""One model version as one .safetensors file: weights of bottleneck and student, normalisation, manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model.anomaly_map import Normalisation
from model.images import InputSpec

FORMAT = 1
KEY = "goodpart"  # one metadata key with canonical JSON: with several, their order changes the file


class ArtifactError(Exception):
    """A model file that cannot be used; the message says why."""


class ArtifactDamaged(ArtifactError):
    """Its bytes are not what was written."""


class ArtifactNewer(ArtifactError):
    """Written by a newer program."""


class WrongTeacher(ArtifactError):
    """Made with other teacher weights than those at hand."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the weights are, and all that made them.

    Attributes:
        teacher: key of `model.teacher.KINDS`.
        teacher_sha256: its weights file.
        height, width, fit: the model's input.
        mean, deviation: of each scale's distance map over validation normals.
        data_sha256: of the training images' pixel hashes, sorted.
        settings: of the training run.
        versions: of the libraries.
        weights_sha256: over the tensors, sorted by name.
        format: of this file.
    """

    teacher: str
    teacher_sha256: str
    height: int
    width: int
    fit: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    data_sha256: str
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    weights_sha256: str
    format: int = FORMAT

    @property
    def spec(self) -> InputSpec:
        """How frames become this model's input."""
        return InputSpec(self.height, self.width, self.fit)

    @property
    def normalisation(self) -> Normalisation:
        """The default score's normalisation."""
        return Normalisation(self.mean, self.deviation)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A model version in memory. `tensors` is the learner's state, on the CPU."""

    manifest: Manifest
    tensors: Mapping[str, Tensor]


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
    manifest = json.dumps(artifact.manifest.to_dict(), sort_keys=True, separators=(",", ":"))
    tensors = {name: tensor.contiguous() for name, tensor in artifact.tensors.items()}
    return bytes(save_tensors(tensors, {KEY: manifest}))


def from_bytes(data: bytes) -> Artifact:
    """Reads and checks a model file.

    Raises:
        ArtifactNewer: written by a newer program.
        ArtifactDamaged: anything else that is not what was written.
    """
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        found = json.loads(header["__metadata__"][KEY])
        if found["format"] > FORMAT:
            raise ArtifactNewer(f"the model file has format {found['format']}, this program reads {FORMAT}: update it")
        known = {field.name for field in fields(Manifest)}
        manifest = Manifest(**{key: value for key, value in found.items() if key in known})
        manifest = replace(manifest, mean=tuple(found["mean"]), deviation=tuple(found["deviation"]))
    except (SafetensorError, ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ArtifactDamaged(f"not a model file of goodpart, or damaged ({error})") from None
    if weights_sha256(tensors) != manifest.weights_sha256:
        raise ArtifactDamaged("the model file's weights are not what its manifest says; fetch it again")
    return Artifact(manifest, tensors)


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
