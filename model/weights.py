"""A teacher's weights: from a file that is named, its package, torchvision's cache, or torchvision's download."""

from __future__ import annotations

import io
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from http.client import HTTPException
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from model.sources import Source, source_of

Fetch = Callable[[str], bytes]
TIMEOUT = 60.0  # s without an answer

# known files that no source publishes: ResNet-18 with BatchNorm folded in
FOLDED = {
    "resnet18_imagenet1k_v1_bnfolded.safetensors": "5964177b493069eed64e0a8590289ed8777aa37355b756544b9231c4816102ec"
}


class TeacherError(Exception):
    """A teacher that cannot be had; the message says which file is missing and how to give it."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A state dict and where it came from.

    Attributes:
        path: of the file.
        sha256: of the file.
        state: what it holds.
        published: the file is the published one of its teacher, by its hash; else these are weights of one's own.
    """

    path: Path
    sha256: str
    state: Mapping[str, Tensor]
    published: bool


def not_finite(tensors: Mapping[str, Tensor]) -> str:
    """The name of a tensor that holds NaN or infinity; "" where none does."""
    return next((name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())), "")


def download(url: str) -> bytes:
    """The bytes at a URL.

    Raises:
        OSError, HTTPException: they cannot be had.
    """
    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        content: bytes = answer.read()
        return content


def find_weights(name: str, file: str = "", *, fetch: Fetch = download) -> Weights:
    """Finds, checks and reads a teacher's weights; what is downloaded stays in torchvision's cache.

    Args:
        name: of the teacher.
        file: .safetensors, or a state dict as .pth; "" for the published ones.
        fetch: downloads.

    Raises:
        TeacherError: missing, damaged or unreadable; says which file is needed and where to put it.
    """
    source = source_of(name)
    path = Path(file) if file else _published(name, source, fetch)
    try:
        data = path.read_bytes()
    except OSError as error:
        why = "is not there" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise TeacherError(
            f"{path}, for the weights of {name}, {why}; give the file with training.weights or --weights"
        ) from None
    digest = sha256(data).hexdigest()
    expected = FOLDED | ({source.file: source.sha256} if source else {})
    if not digest.startswith(expected.get(path.name, "")):
        raise TeacherError(
            f"{path}: is damaged: its SHA-256 is {digest}, not {expected[path.name]}; remove it and get it again"
        )
    known = digest in FOLDED.values() or (source is not None and digest.startswith(source.sha256))
    return Weights(path, digest, _read(path, data), known)


def _published(name: str, source: Source | None, fetch: Fetch) -> Path:
    if source is None:
        raise TeacherError(f"{name} brings no weights; give a file with training.weights or --weights FILE")
    if source.place is None:
        raise TeacherError(
            f"the package with the weights of {name} is missing: {source.advice}, or give {source.file} with "
            "training.weights or --weights"
        )
    if source.url and not source.place.exists():
        _fetch(name, source, source.place, fetch)
    return source.place


def _fetch(name: str, source: Source, place: Path, fetch: Fetch) -> None:
    help_ = f"{source.advice}, or give {source.file} with training.weights or --weights"
    try:
        data = fetch(source.url)
        digest = sha256(data).hexdigest()
        if not digest.startswith(source.sha256):
            raise TeacherError(
                f"what was downloaded for {name} has SHA-256 {digest}, not {source.sha256}; nothing was kept: {help_}"
            )
        _keep(place, data)
    except (OSError, HTTPException) as error:
        raise TeacherError(f"the weights of {name} are not here and cannot be had ({error}): {help_}") from None


def _keep(place: Path, data: bytes) -> None:
    """Writes whole or not at all, also beside another process that does the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{uuid4().hex}.part")
    try:
        part.write_bytes(data)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)


def _read(path: Path, data: bytes) -> Mapping[str, Tensor]:
    try:
        state: Any
        if path.suffix == ".safetensors":
            state = load_safetensors(data)
        else:
            state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except SafetensorError as error:
        raise TeacherError(f"{path}: cannot be read as .safetensors ({error})") from None
    except Exception as error:  # torch.load raises pickle's own errors, whatever the file holds
        raise TeacherError(f"{path}: is not a plain state dict of tensors ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise TeacherError(f"{path}: is not a plain state dict of tensors; save model.state_dict() alone")
    return state
