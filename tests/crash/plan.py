"""What happens in a round: a seed makes a plan of faults and of points at which agents die."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from agent import failpoints

FRAMES = 150
AUDITED = 0.2  # of the parts
BEFORE = 100  # frames recorded when the last fault begins, at most
EVERYWHERE = ("kill", "freeze", "broker", "storm", "redis", "disk", "swap")
ON_POSTGRESQL = (*EVERYWHERE, "database")
ALL = frozenset({*failpoints.NAMES, *ON_POSTGRESQL, "stop"})
STOPPED = 0.3  # of the points stop an agent instead of killing it
OFTEN = {"claim": 2, "swap": 1, "sweep": 1}  # how often a point of these is passed at least; others more


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens in a round.

    Attributes:
        agents: how many run; one that ends is started again.
        faults: (frames recorded before it, kind), in order.
        points: failpoints of the first agents to start: `NAME:N` kills it there, `NAME:N:STOP` stops it for a while.
    """

    agents: int
    faults: tuple[tuple[int, str], ...]
    points: tuple[str, ...]

    @classmethod
    def drawn(cls, seed: int, kinds: tuple[str, ...]) -> Plan:
        """The plan of a seed. A point that is named after a fault, such as swap.begin, brings that fault along."""
        rng = random.Random(seed)
        names = [rng.choice(failpoints.NAMES) for _ in range(rng.randint(1, 3))]
        faults = [kind for kind in dict.fromkeys(map(_room, names)) if kind in kinds]
        faults += [rng.choice(kinds) for _ in range(rng.randint(0 if faults else 1, 3 - len(faults)))]
        rng.shuffle(faults)
        at = sorted(rng.randrange(BEFORE) for _ in faults)
        how = [":STOP" if rng.random() < STOPPED else "" for _ in names]
        often = [rng.randint(1, OFTEN.get(_room(name), 4)) for name in names]
        points = tuple(f"{name}:{count}{end}" for name, count, end in zip(names, often, how, strict=True))
        return cls(rng.randint(1, 3), tuple(zip(at, faults, strict=True)), points)

    @property
    def kinds(self) -> set[str]:
        """Every fault and every failpoint in it, and `stop` where an agent is stopped at one."""
        stop = {"stop"} if any(point.endswith(":STOP") for point in self.points) else set[str]()
        return {*(kind for _, kind in self.faults), *(point.partition(":")[0] for point in self.points), *stop}


def _room(point: str) -> str:
    return point.partition(".")[0]


def covering(rng: random.Random, seeds: Sequence[tuple[int, tuple[str, ...]]]) -> list[list[int]]:
    """Few seeds, so many for each kinds of faults, whose plans together have every fault and every failpoint.

    Among fifty such sets it gives the one with the fewest faults and agents, which takes the least time.
    """
    found: list[tuple[int, list[list[int]]]] = []
    while len(found) < 50:
        left, chosen, cost = {*ALL}, [], 0
        for count, kinds in seeds:
            chosen.append(list[int]())
            for _ in range(count):
                plans = {seed: Plan.drawn(seed, kinds) for seed in rng.sample(range(2000), 100)}
                best = max(plans, key=lambda seed: len(plans[seed].kinds & left))
                chosen[-1].append(best)
                left -= plans[best].kinds
                cost += 2 * len(plans[best].faults) + plans[best].agents
        if not left:
            found.append((cost, chosen))
    return min(found)[1]


if __name__ == "__main__":
    print(covering(random.Random(0), [(4, EVERYWHERE), (4, ON_POSTGRESQL)]))
