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
    taken: dict[str, list[float]] = {"challenger": [], "champion": []}
    models = [("challenger", challenger), ("champion", champion)]
    stage = Stage("timing", ROUNDS + 1, on_progress)
    began, rounds = clock(), -1  # the first one is not counted
    while rounds < FEWEST or (rounds < ROUNDS and clock() - began < ENOUGH_S):
        for name, scorer in models:
            start = clock()
            scorer.score(given)
            if rounds >= 0:
                taken[name].append((clock() - start) / batch * 1000)
        models.reverse()
        rounds += 1
        stage.advance()
    mine, theirs = taken["challenger"], taken["champion"]
    fastest = min(mine) / max(min(theirs), 1e-9)
    paired = median(new / max(old, 1e-9) for new, old in zip(mine, theirs, strict=True))
    return Pace(rounds, batch, median(mine), median(theirs), min(fastest, paired), allowed)
