"""The numbers that one camera gives its frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Jump:
    """A sequence number that does not follow `last`. `missed`: how many are missing; 0 of a camera that began anew."""

    last: int
    missed: int


@dataclass(slots=True)
class Numbering:
    """Follows one station's numbers in one partition.

    Attributes:
        last: the number of the frame before; None where none is known.
        silent_until: Unix time before which its jumps say nothing.
    """

    last: int | None = None
    silent_until: float = 0.0
    _anew: bool = False

    def count(self, number: int) -> Jump | None:
        """Takes the next frame's number; None where nothing is odd.

        A number that does not rise is a camera that began anew; what it lost around its end, nobody can tell. One
        whose numbers never rise has none: that is said once.
        """
        last, self.last = self.last, number
        if last is None or number == last + 1:
            self._anew = False
            return None
        told, self._anew = self._anew, number <= last
        return None if told and self._anew else Jump(last, max(0, number - last - 1))
