"""The numbers that one camera gives its frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Jump:
    """A number that does not follow `last`. `missed`: how many are missing; 0 of a camera that began anew."""

    station: str
    number: int
    last: int

    @property
    def missed(self) -> int:
        """How many frames were lost in between."""
        return max(0, self.number - self.last - 1)


@dataclass(frozen=True, slots=True)
class Numbering:
    """How far one station's numbers in one partition are.

    Attributes:
        last: the number of the frame before; None where none is known.
        silent_until: Unix time before which its jumps say nothing.
        anew: whether that number did not rise.
    """

    last: int | None = None
    silent_until: float = 0.0
    anew: bool = False

    def then(self, station: str, number: int) -> tuple[Numbering, Jump | None]:
        """How far it is after the next frame's number, and what is odd about that; None where nothing is.

        A number that does not rise is a camera that began anew; what it lost around its end, nobody can tell. One
        whose numbers never rise has none: that is said once.
        """
        anew = self.last is not None and number <= self.last
        after = Numbering(number, self.silent_until, anew)
        if self.last is None or number == self.last + 1 or (anew and self.anew):
            return after, None
        return after, Jump(station, number, self.last)
