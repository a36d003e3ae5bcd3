"""How many new samples of reviews one run may learn from, in all and of each reviewer.

So a batch of wrong approvals moves a model by a bounded step, and the gate looks at each step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from agent.phrases import Phrase, together
from agent.settings import Settings
from agent.store import registry, samples


@dataclass(frozen=True, slots=True)
class Fresh:
    """A sample that the live version did not learn from, and whose review proposed it; None: nobody's."""

    id: int
    reviewer: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """What waits for the next run.

    Attributes:
        ids: of the samples.
        places: for new samples in this run.
        each: of them for one reviewer.
        reviewers: how many wait because their reviewer's places were taken.
        run: how many wait because all places were taken.
    """

    ids: frozenset[int]
    places: int
    each: int
    reviewers: int
    run: int

    @property
    def words(self) -> str:
        """For people; "" where nothing waits."""
        if not self.ids:
            return ""
        parts = []
        if self.run:
            parts.append(Phrase("{n} because a run takes {places} new ones at most", n=self.run, places=self.places))
        if self.reviewers:
            few = {"n": self.reviewers, "each": self.each}
            parts.append(Phrase("{n} because one reviewer has {each} of these places at most", **few))
        why = together("{one}, {other}", parts)
        return Phrase("{n} new samples wait for the next run: {why}", n=len(self.ids), why=why)


def places(old: int, new_share: float) -> int | None:
    """The most new samples that are at most `new_share` of old and new together; None: no limit."""
    # The small term: 0.3 / 0.7 * 7 is 2.999... in floating point.
    return None if new_share >= 1 else math.floor(old * new_share / (1 - new_share) + 1e-9)


def hold_back(fresh: Sequence[Fresh], old: int, *, new_share: float, reviewer_share: float) -> Held:
    """Which new samples wait: the oldest are taken, as long as there are places for them and for their reviewer.

    Args:
        fresh: oldest first.
        old: train samples that are not new.
        new_share: of the run's train samples, at most this share is new; 1 = no limit.
        reviewer_share: of the places for new samples, at most this share is one reviewer's; 1 = no limit.
    """
    found = places(old, new_share)
    room = len(fresh) if found is None else found
    each = room if reviewer_share >= 1 else math.floor(room * reviewer_share + 1e-9)
    taken, waits = Counter[int | None](), dict[int, str]()
    for one in fresh:
        if taken.total() >= room:
            waits[one.id] = "run"
        elif taken[one.reviewer] >= each:
            waits[one.id] = "reviewer"
        else:
            taken[one.reviewer] += 1
    why = Counter(waits.values())
    return Held(frozenset(waits), room, each, why["reviewer"], why["run"])


def of_run(conn: Connection, settings: Settings, product_id: int) -> Held:
    """What the run that freezes its samples now holds back: of those that the live version did not learn from.

    What a run learned that was rejected is as new at the next one. Where nothing is live there are no caps: there is no
    model yet that a run could spoil.
    """
    live = registry.live(conn, product_id)
    if live is None:
        return hold_back([], 0, new_share=1, reviewer_share=1)
    learnt = registry.version(conn, live.model_version_id).snapshot_id
    fresh = samples.fresh(conn, product_id, learnt)
    old = samples.counts(conn, product_id)["train"] - len(fresh)
    wanted = settings.samples
    return hold_back(
        [Fresh(one.id, one.added_by) for one in fresh], old,
        new_share=wanted.new_share, reviewer_share=wanted.reviewer_share,
    )  # fmt: skip
