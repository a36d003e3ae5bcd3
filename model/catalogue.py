"""The teachers that there are, and where their weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model.sources import source_of
from model.teacher import KINDS, TeacherError, load_teacher


@dataclass(frozen=True, slots=True)
class Listed:
    """A teacher as `catalogue` lists it.

    Attributes:
        name: as `kind_of` takes it.
        path: of its weights where they are here and whole, else None.
        damaged: a file is where they should be, and is not they.
        megabytes: of the weights.
        licence: of the published weights, as an SPDX identifier.
        channels: of its levels at strides 4, 8, 16.
        steps: default training budget.
        advice: how to get the weights, or what is wrong with the file.
    """

    name: str
    path: Path | None
    damaged: bool
    megabytes: float
    licence: str
    channels: tuple[int, int, int]
    steps: int
    advice: str


def catalogue(given: Mapping[str, str] | None = None) -> list[Listed]:
    """Every named teacher and where its weights are; what is here is read and checked, and nothing is fetched.

    Args:
        given: weights files by teacher, which go before the published ones.
    """
    listed = []
    for name, kind in KINDS.items():
        source = source_of(name)
        assert source is not None  # only timm's teachers have none
        file = (given or {}).get(name)
        place = Path(file) if file else source.place
        path = place if place and place.is_file() else None
        megabytes = path.stat().st_size / 1e6 if path else source.megabytes
        advice = f"put the file at {file}" if file else source.advice
        wrong = _wrong(name, path) if path else ""
        listed.append(
            Listed(
                name, None if wrong else path, bool(wrong), round(megabytes, 1), source.licence, kind.channels,
                kind.steps, wrong or advice,
            )
        )  # fmt: skip
    return listed


def _wrong(name: str, path: Path) -> str:
    try:
        load_teacher(name, str(path))
    except TeacherError as error:
        return str(error)
    return ""
