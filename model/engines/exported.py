"""An exported model: its record, and the scorer that runs its files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from model.certificate import Certificate, CertificateError
from model.engines.base import Engine
from model.engines.scorer import FrameScorer
from model.images import InputError, InputSpec

RECORD = "export.json"
VERSION = 1
GRAPHS = {"onnx": ("model.onnx",), "openvino": ("model.xml", "model.bin")}


class ExportError(Exception):
    """An export that cannot be made or used; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an exported graph is, and what its scores mean.

    Attributes:
        format: "onnx" or "openvino".
        precision: "fp32", "bf16" or "int8".
        form: of the score, "default" or "paper".
        spec: of the input.
        teacher: its name.
        artifact_sha256: the model file that was exported.
        manifest_sha256: of that file's manifest as canonical JSON.
        files: SHA-256 of each graph file.
        certificate: thresholds of the exported engine's own scores; its fingerprint says which engine that is.
        reference, exported: figures of the gate, by name, of the float32 torch engine and of this one.
        version: of this record.
    """

    format: str
    precision: str
    form: str
    spec: InputSpec
    teacher: str
    artifact_sha256: str
    manifest_sha256: str
    files: Mapping[str, str]
    certificate: Certificate
    reference: Mapping[str, float | None]
    exported: Mapping[str, float | None]
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {**asdict(self), "certificate": self.certificate.to_dict()}

    def write(self, folder: Path) -> None:
        """Writes the record beside its files."""
        record = self.to_dict()
        text = json.dumps({**record, "sha256": _digest(record)}, indent=2)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Exported:
        """Reads the record and checks it and its files.

        Raises:
            ExportError: something is missing, damaged, or of a newer program.
        """
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            if record["version"] > VERSION:
                raise ExportError(f"{folder}: exported by a newer program; update this one")
            if record.pop("sha256") != _digest(record):
                raise ExportError(f"{folder / RECORD}: is not what was written; export again")
            spec = InputSpec(**{**record["spec"], "region": tuple(record["spec"]["region"])})
            certificate = Certificate.from_dict(record["certificate"])
            known = {field.name for field in fields(cls)}
            found = cls(**{**{k: v for k, v in record.items() if k in known}, "spec": spec, "certificate": certificate})
        except OSError as error:
            raise ExportError(
                f"{folder}: has no readable {RECORD} ({error.strerror}); give an exported folder"
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, InputError, CertificateError) as error:
            raise ExportError(f"{folder / RECORD}: is not the record of an export ({error})") from None
        if found.format not in GRAPHS or hashes(folder, found.format) != found.files:
            raise ExportError(f"{folder}: its files are not those of its record; export again")
        return found


def _digest(record: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(record))  # tuples become what they will be when read
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def hashes(folder: Path, graph_format: str) -> dict[str, str]:
    """SHA-256 of each graph file; "" of one that is not there."""
    paths = [folder / name for name in GRAPHS[graph_format]]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "" for path in paths}


def open_graph(folder: Path, graph_format: str, precision: str, spec: InputSpec, threads: int = 0) -> Engine:
    """An engine that runs a folder's graph.

    Raises:
        EngineError: its runtime is not installed.
    """
    path = folder / GRAPHS[graph_format][0]
    if graph_format == "onnx":
        from model.engines.onnx import OnnxEngine

        return OnnxEngine(path, spec, threads)
    from model.engines.openvino import OpenVinoEngine
    from model.engines.openvino_graph import read

    return OpenVinoEngine(read(path), spec, precision, threads)


class ExportedScorer(FrameScorer):
    """Scores frames with an exported model; needs neither the model file nor the teacher's weights.

    Args:
        folder: that `model.export.export` wrote.
        threads: CPU threads; 0 leaves the runtime's number as it is.

    Attributes:
        record: what was exported. Its certificate holds where its fingerprint is this scorer's.

    Raises:
        ExportError: the folder is not an export, or was changed.
        EngineError: the runtime is not installed.
    """

    def __init__(self, folder: Path, *, threads: int = 0):
        record = Exported.read(folder)
        engine = open_graph(folder, record.format, record.precision, record.spec, threads)
        super().__init__(engine, record.spec, artifact_sha256=record.artifact_sha256, form=record.form)
        self.record = record
