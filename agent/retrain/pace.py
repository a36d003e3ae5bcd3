"""How fast the challenger is beside the champion: on the same frames, in the same run, in turns.

Both are the line's own scorers at its batch, on this process's threads, so the times are no promise of the line's; what
they say is how the two compare.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from statistics import median
from time import perf_counter

from agent.retrain.gate import Pace
from agent.retrain.progress import OnProgress, Stage
from model.engines import Scorer
from model.images import Frame

ROUNDS = 7
FEWEST = 3
ENOUGH_S = 20.0  # of measuring, after which no further round begins: large models on a CPU
DOUBT_S = 90.0  # likewise while the challenger seems too slow: other work may have come between


def measure(
    challenger: Scorer,
    champion: Scorer,
    frames: Sequence[Frame],
    *,
    batch: int,
    allowed: float,
    on_progress: OnProgress | None = None,
    clock: Callable[[], float] = perf_counter,
) -> Pace:
    """Times both models.

    Args:
        challenger: scores each batch; a first round, in which engines still make ready, is not counted.
        champion: scores it right before or after, in turns.
        frames: at least one; repeated where they are fewer than a batch.
        batch: frames at once.
        allowed: see `Pace`.
        on_progress: hears of each round; raising from it ends the measuring.
        clock: seconds, monotonic.
    """
    given = list(islice(cycle(frames), batch))
    mine, theirs = list[float](), list[float]()
    models = [(mine, challenger), (theirs, champion)]

    def ratio() -> float:
        paired = median(new / max(old, 1e-9) for new, old in zip(mine, theirs, strict=True))
        return min(min(mine) / max(min(theirs), 1e-9), paired)

    stage = Stage("timing", ROUNDS + 1, on_progress)
    began, rounds = clock(), -1  # the first one is not counted
    while rounds < FEWEST or (rounds < ROUNDS and clock() - began < (DOUBT_S if ratio() > allowed else ENOUGH_S)):
        for taken, scorer in models:
            start = clock()
            scorer.score(given)
            if rounds >= 0:
                taken.append((clock() - start) / batch * 1000)
        models.reverse()
        rounds += 1
        stage.advance()
    return Pace(rounds, batch, median(mine), median(theirs), ratio(), allowed)
