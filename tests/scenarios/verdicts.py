"""What models say of labelled defects, from scores and issued thresholds alone.

Nothing of the gate is used here: with this the scenarios try what the gate lets go live.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from agent.retrain.scoring import open_scorer
from agent.settings import Settings
from agent.store.blobs import BlobStore
from model import artifact as artifacts
from model.images import Frame
from model.statistics import binomial_tail

BATCH = 16
ALLOWED, ALLOWED_SHARE = 1.0, 0.02  # the gate's limits, said again: one loosened by mistake must show here
LEVEL = 0.01  # at which more lost than won is no chance


@dataclass(frozen=True, slots=True)
class Compared:
    """Labelled defects under two models; `before` are flagged by the old one, `lost` by it only, `won` by the new."""

    total: int = 0
    before: int = 0
    lost: int = 0
    won: int = 0

    @classmethod
    def of(cls, pairs: Iterable[tuple[bool, bool]]) -> Compared:
        """Counts (the old one flags it, the new one does)."""
        flags = list(pairs)
        return cls(
            len(flags),
            sum(old for old, _ in flags),
            sum(old and not new for old, new in flags),
            sum(new and not old for old, new in flags),
        )

    def __add__(self, other: Compared) -> Compared:
        return Compared(
            self.total + other.total, self.before + other.before, self.lost + other.lost, self.won + other.won
        )

    @property
    def after(self) -> int:
        """Flagged by the new one."""
        return self.before - self.lost + self.won

    @property
    def harmful(self) -> bool:
        """Whether more are lost than a challenger may lose."""
        return self.lost - self.won > max(ALLOWED, ALLOWED_SHARE * self.total)

    @property
    def chance(self) -> float:
        """The exact one-sided p-value of "the new one misses no more": at least so many lost, of those told apart.

        Assumes that the defects are drawn independently. Source: McNemar, Psychometrika 12 (1947), as a sign test.
        """
        return binomial_tail(self.lost, self.lost + self.won, 0.5)

    @property
    def still_caught(self) -> bool:
        """Whether at least half are flagged, and no fewer than before but for chance."""
        return 2 * self.after >= self.total and self.chance > LEVEL


def flags(
    settings: Settings, blobs: BlobStore, artifact_sha256: str, certificate: Mapping[str, Any], frames: Iterable[Frame]
) -> Iterator[bool]:
    """Which frames a version flags under its certificate, as the line would; each is scored once."""
    scorer = open_scorer(settings, artifacts.from_bytes(blobs.get(artifact_sha256)))
    threshold, rest = certificate["review_threshold"], iter(frames)
    while batch := list(islice(rest, BATCH)):
        yield from (threshold is None or one.score > threshold for one in scorer.score(batch))
