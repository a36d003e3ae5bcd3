"""When a shadow or a watch has seen enough, and what it waits for until then: pure functions of its parts.

Source: the rule is `model.statistics.enough_at`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agent.phrases import Phrase, together
from agent.watching.judging import Part
from model.statistics import CAP, enough_at

FRAMES = 20  # of a part on average, at most: so many times the parts wanted are looked at, however few parts they are


@dataclass(frozen=True, slots=True)
class Stop:
    """How much was seen, and how much is wanted.

    Attributes:
        parts: seen.
        defects: of these, confirmed ones that either model flagged.
        wanted_parts: at least.
        wanted_defects: at least, unless the cap is reached first.
        at: after so many parts enough was seen, and no more are drawn; None: more are.
        waits: flagged ones of these parts that nobody has reviewed.
        crowded: why no more frames are drawn though fewer parts were than wanted; None where that is not so.
    """

    parts: int
    defects: int
    wanted_parts: int
    wanted_defects: int
    at: int | None
    waits: int
    crowded: Phrase | None

    @property
    def full(self) -> bool:
        """Whether no further parts are needed."""
        return self.at is not None

    @property
    def reached(self) -> bool:
        """Whether it is full, and people said of all flagged parts what they are."""
        return self.full and not self.waits

    @property
    def cap(self) -> int:
        """Parts after which it waits for no more defects."""
        return CAP * self.wanted_parts if self.wanted_defects else self.wanted_parts

    def numbers(self) -> dict[str, Any]:
        """The record as plain JSON."""
        return {
            "full": self.full,
            "defects": self.defects,
            "wanted_parts": self.wanted_parts,
            "wanted_defects": self.wanted_defects,
            "cap": self.cap,
        }

    @property
    def words(self) -> str:
        """What it waits for, or once it waits for nothing what it could not see; "" where there is no such thing."""
        return together("{one}; {other}", self._awaited() if not self.reached else self._missed())

    def _awaited(self) -> Iterator[Phrase]:
        if self.full:
            yield Phrase("it waits for the review of flagged parts, {n:,} of them", n=self.waits)
            return
        if self.parts < self.wanted_parts:
            yield Phrase("it waits for {wanted:,} parts", wanted=self.wanted_parts)
        if self.defects < self.wanted_defects:
            yield Phrase(
                "it waits for {wanted:,} confirmed defects that either flagged ({n:,} so far), or for {cap:,} parts",
                wanted=self.wanted_defects, n=self.defects, cap=self.cap,
            )  # fmt: skip

    def _missed(self) -> Iterator[Phrase]:
        if self.defects < self.wanted_defects:
            yield Phrase(
                "only {n:,} of the {wanted:,} confirmed defects wanted came in {parts:,} parts: so few that a model "
                "blind to defects could not be told for sure",
                n=self.defects, wanted=self.wanted_defects, parts=self.parts,
            )  # fmt: skip


def stop(found: Sequence[Part], frames: int, parts: int, defects: int = 0) -> Stop:
    """Looks at what was seen.

    Where serials repeat, parts may never be enough: then it is full after so many frames, with what there is.

    Args:
        found: in the order of inspection.
        frames: of these parts.
        parts: wanted.
        defects: wanted.
    """
    seen = [one.flagged and one.verdict == "defect" for one in found]
    at, crowded = enough_at(seen, parts, defects), None
    limit = parts if len(found) < parts else CAP * parts
    if at is None and frames >= FRAMES * limit:
        at = len(found)
        crowded = Phrase(
            "{frames} frames are of only {parts} different parts, fewer than the {wanted} wanted, and no more are "
            "drawn: serials repeat",
            frames=frames, parts=len(found), wanted=limit,
        )  # fmt: skip
    waits = sum(one.waits for one in found[:at])
    return Stop(len(found), sum(seen), parts, defects, at, waits, crowded)
