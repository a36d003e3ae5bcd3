"""The parts that a line makes: the demo's flanges, good or with defects of graded strength, under any lamp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.demo.defects import KINDS
from agent.demo.part import USUAL, Lamp
from agent.demo.render import jpeg, picture

NEW_LAMP = Lamp(turn=1.0, gain=1.2)  # the bracket of the lamp was bent, and a brighter bulb put in


@dataclass(frozen=True, slots=True)
class Part:
    """A physical part; `kind` is its defect's, None where it is good."""

    serial: str
    number: int
    kind: str | None = None
    strength: float = 0.0

    def shot(self, seed: int, lamp: Lamp) -> bytes:
        """Its picture, as JPEG."""
        return jpeg(picture(self.kind, self.strength, (seed, self.number), lamp)[0])


@dataclass
class Flanges:
    """Makes parts; no two are alike."""

    seed: int
    made: int = 0

    def good(self, count: int) -> list[Part]:
        """The next good ones."""
        return [self._part(None, 0.0) for _ in range(count)]

    def defective(self, count: int) -> list[Part]:
        """The next ones with defects, of all kinds in turn, each of which an attentive person sees."""
        kinds = list(KINDS)
        grades = np.linspace(0.5, 1.0, count)
        return [self._part(kinds[at % len(kinds)], float(grade)) for at, grade in enumerate(grades)]

    def mixed(self, good: int, defects: int) -> list[Part]:
        """Good and defective ones as a line makes them, in any order."""
        parts = [*self.good(good), *self.defective(defects)]
        order = np.random.default_rng((self.seed, self.made)).permutation(len(parts))
        return [parts[at] for at in order]

    def shots(self, parts: Sequence[Part], lamp: Lamp = USUAL) -> Iterator[tuple[Part, bytes]]:
        """Each part with its picture."""
        with ThreadPoolExecutor(2) as pool:
            yield from zip(parts, pool.map(lambda part: part.shot(self.seed, lamp), parts), strict=True)

    def folder(self, path: Path, good: int, defects: int, test_good: int = 0) -> Path:
        """A folder of them in MVTec layout, without masks."""
        places = ["train/good"] * good + ["test/good"] * test_good
        parts = [*self.good(good + test_good), *self.defective(defects)]
        places += [f"test/{part.kind}" for part in parts[len(places) :]]
        for name, (part, shot) in zip(places, self.shots(parts), strict=True):
            place = path / name
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{part.serial}.jpg").write_bytes(shot)
        return path

    def _part(self, kind: str | None, strength: float) -> Part:
        self.made += 1
        return Part(f"GP-{self.made:05}", self.made, kind, strength)
