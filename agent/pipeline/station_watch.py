"""What one station's frames, in order, say of its camera."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from agent.phrases import Phrase
from agent.pipeline.measures import CLIPPED, Grid, Measures
from agent.pipeline.streak import Streak
from agent.pipeline.usual import FAR, deviations, learned
from agent.store.camera_history import Usual

DARK = 5  # grey levels; below it a JPEG, or the camera's black level, may leave no noise
BLACK = 20  # grey levels; video codes black as 16, and a sensor's dark noise lies below it
EQUAL = 5  # repeats of every pixel
STILL = 50  # repeats of nearly every pixel
CHANGED = 0.01  # share of the pixels that are not clipped
UNCLIPPED = 0.05  # share of all pixels without which a repeat says nothing
FEW = 480  # pixels that are compared first: with no more numpy does not let other threads go first, which costs more

BLACK_WORDS = Phrase("its pictures are black: look at the lamp, the lens and the exposure")


@dataclass(frozen=True, slots=True)
class Relative:
    """A problem that is told by a measure's distance from what is usual at this station, of this product.

    Attributes:
        problem: one of agent.alerts.base.CONDITIONS.
        measure: name of what is learned, before the product's id.
        worse: 1 where more is worse, -1 where less is.
        floor: smallest standard deviation believed in.
        words: for a person, from the value and its usual mean.
    """

    problem: str
    measure: str
    worse: int
    floor: float
    words: Callable[[float, float], str]


# Of arcsin(sqrt(share)), whose variance does not depend on the share (Anscombe 1948). FAR * floor: where nothing is
# usually overexposed, 4 % of the picture must be.
SATURATION = Relative(
    "camera_saturated", "saturation", 1, 0.05,
    lambda value, usual: Phrase(
        "{share:.0%} of its picture is overexposed, {usual:.0%} is usual: look at the lamp, the exposure and the gain; "
        "if they were changed, goodpart stations relearn",
        share=math.sin(value) ** 2, usual=math.sin(usual) ** 2,
    ),
)  # fmt: skip
# Of a logarithm. FAR * floor: no more than 55 % of the usual energy of the Laplacian may be left.
SHARPNESS = Relative(
    "camera_defocused", "sharpness", -1, 0.15,
    lambda value, usual: Phrase(
        "its pictures have {share:.0%} of the usual sharpness: look at the focus, and for dirt or dew on the lens; if "
        "it was changed, goodpart stations relearn",
        share=math.exp(value - usual),
    ),
)  # fmt: skip


IN_A_ROW = {  # frames that begin a problem, and that end it
    "camera_black": (3, 3),
    "camera_frozen": (1, 3),  # it counts repeats itself
    "camera_saturated": (10, 10),
    "camera_defocused": (10, 10),
}
PROBLEMS = tuple(IN_A_ROW)
ANY = 0  # no product's id: of problems that show whatever the station runs


@dataclass(frozen=True, slots=True)
class Change:
    """A problem has begun, or is over; `words` are of its beginning, `detail` of this frame."""

    problem: str
    raised: bool
    words: str
    detail: Mapping[str, Any]


class StationWatch:
    """One camera. Not thread-safe.

    A black picture is judged for nothing else, an overexposed one not for its focus: one cause, one alarm. Learned are
    only frames that are no repeat and not far off, and none of a measure and product whose problem is open: a camera
    that stays blurred does not become usual. What one product's frames showed, those of another cannot call over: their
    usual may have been learned since.

    Attributes:
        usual: what was learned, by measure and product; `unsaved` those learned of since the last save, `saved` those
            that the database has.
    """

    def __init__(self, usual: Mapping[str, Usual]) -> None:
        self.usual = dict(usual)
        self.unsaved: set[str] = set()
        self.saved = set(usual)
        self._streaks: dict[tuple[str, int], Streak] = {}
        self._open: dict[str, bool] = {}
        self._grid: Grid | None = None
        self._equal = self._still = 0

    def forget(self) -> None:
        """What was usual is so no more: a person has changed the camera."""
        self.usual.clear()
        self.unsaved.clear()
        self.saved.clear()
        self._streaks.clear()
        self._open.clear()

    def look(self, measures: Measures, product_id: int) -> list[Change]:
        """Takes the measures of the next frame."""
        found: list[Change] = []
        before, self._grid = self._grid, measures.grid
        black = measures.brightest <= BLACK
        self._see(found, "camera_black", ANY, black, lambda: BLACK_WORDS, brightest=measures.brightest)
        if black:
            return found
        repeat = before is not None and self._repeats(found, before, measures.grid)
        share = math.asin(math.sqrt(measures.saturated))
        overexposed = self._compare(found, SATURATION, share, product_id, repeat=repeat)
        if not overexposed and measures.sharpness is not None:
            self._compare(found, SHARPNESS, measures.sharpness, product_id, repeat=repeat)
        return found

    def _repeats(self, found: list[Change], before: Grid, grid: Grid) -> bool:
        """Whether the picture is that of the frame before.

        No two pictures of a sensor are equal, even of a part that does not move: at half of its full well of F
        electrons a pixel of 8 bits has shot noise of 255 / sqrt(2 F) levels, 0.6 at F = 100 000. Noise of 0.25 levels
        changes 8 % of the pixels, after a JPEG of quality 50, too (seen). So EQUAL repeats are a frozen picture. STILL
        repeats of all but CHANGED of the pixels are one, too, with a clock in its corner. What is clipped has no noise
        and says nothing. A video codec, or a camera that averages over time, may leave no noise in a scene in which
        nothing moves: such a station looks frozen while it stands still.
        """
        enough = CHANGED * grid.size
        changed = int(np.count_nonzero(before[:FEW] != grid[:FEW]))
        if changed < enough:
            changed = int(np.count_nonzero(before != grid))
        moved = changed >= enough
        if not moved:
            unclipped = int(np.count_nonzero((grid > DARK) & (grid < CLIPPED)))
            if unclipped < UNCLIPPED * grid.size:
                return False
            moved = changed >= CHANGED * unclipped
        self._equal = 0 if changed else self._equal + 1
        self._still = 0 if moved else self._still + 1
        frozen = self._equal >= EQUAL or self._still >= STILL
        if moved or frozen:
            self._see(found, "camera_frozen", ANY, frozen, self._frozen, repeats=self._still, equal=self._equal)
        return not moved

    def _frozen(self) -> Phrase:
        return Phrase(
            "its camera sent the same picture {n} times: look at the camera and its trigger", n=self._still + 1
        )

    def _compare(self, found: list[Change], how: Relative, value: float, product_id: int, *, repeat: bool) -> bool:
        """Whether the frame is far from the usual; learns from it where it may."""
        key = f"{how.measure}/{product_id}"
        usual = self.usual.get(key)
        apart = deviations(usual, value, how.floor)
        far = apart is not None and apart * how.worse > FAR
        if usual and apart is not None:
            numbers = {"value": value, "usual": usual.mean, "deviations": apart, "learned_from": usual.n}
            words = partial(how.words, value, usual.mean)
            self._see(found, how.problem, product_id, far, words, **numbers)
        if not (far or repeat or self._streak(how.problem, product_id).raised):
            self.usual[key] = learned(usual, value, how.floor)
            self.unsaved.add(key)
        return far

    def _see(
        self,
        found: list[Change],
        problem: str,
        product_id: int,
        bad: bool,
        words: Callable[[], str],
        **detail: float,
    ) -> None:
        if not self._streak(problem, product_id).see(bad):
            return
        is_open = any(one.raised for (of, _), one in self._streaks.items() if of == problem)
        if is_open != self._open.get(problem):
            self._open[problem] = is_open
            found.append(Change(problem, is_open, words(), {name: round(value, 3) for name, value in detail.items()}))

    def _streak(self, problem: str, product_id: int) -> Streak:
        return self._streaks.setdefault((problem, product_id), Streak(*IN_A_ROW[problem]))
