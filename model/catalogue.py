"""The teachers that there are, and where their weights are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from model.sources import source_of
from model.teacher import KINDS


@dataclass(frozen=True, slots=True)
class Listed:
    """A teacher as `catalogue` lists it.

    Attributes:
        name: as `kind_of` takes it.
        path: of its weights where they are here, else None.
        megabytes: of the weights.
        licence: of the published weights, as an SPDX identifier.
        channels: of its levels at strides 4, 8, 16.
        steps: default training budget.
        advice: how to get the weights.
    """

    name: str
    path: Path | None
    megabytes: float
    licence: str
    channels: tuple[int, int, int]
    steps: int
    advice: str


def catalogue(given: Mapping[str, str] | None = None) -> list[Listed]:
    """Every named teacher and where its weights are, without loading or fetching any.

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
        listed.append(Listed(name, path, round(megabytes, 1), source.licence, kind.channels, kind.steps, advice))
    return listed
