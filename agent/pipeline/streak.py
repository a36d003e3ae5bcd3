"""A problem that takes a while to be believed, and a while to be over."""

from __future__ import annotations


class Streak:
    """Raised after so many bad frames in a row, over after so many good ones.

    Attributes:
        raised: None until either was seen: whether it was open before is not known.
    """

    def __init__(self, bad: int, good: int) -> None:
        self._needs = {True: bad, False: good}
        self.raised: bool | None = None
        self._last, self._run = False, 0

    def see(self, bad: bool) -> bool:
        """Takes one frame; whether `raised` has changed."""
        self._run = self._run + 1 if bad is self._last else 1
        self._last = bad
        if self.raised is bad or self._run < self._needs[bad]:
            return False
        self.raised = bad
        return True
