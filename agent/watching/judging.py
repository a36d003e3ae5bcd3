"""What the parts of a watch say of its two models: pure functions of what was flagged and what people said of it.

Of a watch the new model decides, and the champion before scores beside it; of a shadow the candidate is the new one.
Source: goodpart's model.md, "Retraining", Watch after promotion.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agent.phrases import Phrase, together
from agent.store.watches import Seen
from model.statistics import EVEN, ROLLBACK, Evidence, binomial_tail, evidence_against, exceeds_rate

EXCESS_LEVEL, EXCESS_OF = 0.01, 20  # of a hint; fewer parts that one model alone flagged are noise
SHADOW_LEVEL = 0.05  # candidates that hold their rate and fail in the shadow, at most


@dataclass(frozen=True, slots=True)
class Part:
    """One part at one station: which model flagged any of its frames, and what people said of all that were."""

    new: bool
    old: bool
    verdict: str | None  # normal | defect; None: nobody has said so (yet)

    @property
    def flagged(self) -> bool:
        """Whether any of the two did."""
        return self.new or self.old

    @property
    def waits(self) -> bool:
        """Whether people still have to say what it is."""
        return self.flagged and self.verdict is None


@dataclass(frozen=True, slots=True)
class Counts:
    """Parts of the sample, those flagged by one or both of the models, and how many of these are reviewed."""

    parts: int
    new_only: int
    old_only: int
    both: int
    reviewed: int

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Counts:
        """Counts parts."""
        return cls(
            parts=len(parts),
            new_only=sum(one.new and not one.old for one in parts),
            old_only=sum(one.old and not one.new for one in parts),
            both=sum(one.new and one.old for one in parts),
            reviewed=sum(one.flagged and one.verdict is not None for one in parts),
        )

    @property
    def words(self) -> str:
        """For people."""
        return Phrase(
            "{parts} parts, flagged {new_only} by the new model only, {old_only} by the old one only, {both} by both; "
            "{reviewed} of these {flagged} reviewed",
            **asdict(self), flagged=self.new_only + self.old_only + self.both,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Judgement:
    """A watch as its reviews have it now.

    Attributes:
        counts: of its parts.
        new: evidence that the new model flags more good parts than its certificate allows.
        misses: evidence that of the defects which one of them alone flagged, more are the old one's.
        old: as `new`, of the old model on the same parts.
        old_at_worst: as `old`, were all of its flags that wait for a review false alarms.
        new_waits: parts that the new model alone flagged and nobody has reviewed: `misses` takes them for defects.
    """

    counts: Counts
    new: Evidence
    misses: Evidence
    old: Evidence
    old_at_worst: Evidence
    new_waits: int

    @property
    def accused(self) -> bool:
        """Whether one of the two tests of the new model says so."""
        return self.new.reached_at is not None or self.misses.reached_at is not None

    @property
    def old_holds(self) -> bool:
        """Whether the old model passes the first test, whatever its flags that wait turn out to be."""
        return self.old_at_worst.reached_at is None

    @property
    def old_fails(self) -> bool:
        """Whether it fails the test on what is known: no review to come helps it."""
        return self.old.reached_at is not None

    @property
    def old_waits(self) -> int:
        """Parts that the old model flagged and nobody has reviewed."""
        return self.old_at_worst.ones - self.old.ones

    def numbers(self) -> dict[str, Any]:
        """The record as plain JSON."""
        return {
            **_counted(self.counts),
            "rate": self.new.rate,
            "old_rate": self.old.rate,
            "false_alarms": self.new.ones,
            "old_false_alarms": self.old.ones,
            "defects_of_one": self._defects_of_one,
            "defects_of_old": self.misses.ones,
            "new_waits": self.new_waits,
            "old_waits": self.old_waits,
            "e_false_alarms": self.new.e,
            "e_misses": self.misses.e,
            "e_old": self.old.e,
        }

    def words(self, new: str, old: str) -> str:
        """What the tests say, for people; `new` and `old` name the models."""
        found = [*self._accusations(new, old)] or [self._nothing(new, old)]
        if self.new_waits:
            found.append(
                Phrase(
                    "{n} that {model} alone flagged are not reviewed yet and count as defects here",
                    n=self.new_waits,
                    model=new,
                )
            )
        if self.accused:
            found.append(self._of_old(old))
        return together("{one}; {other}", found)

    @property
    def _defects_of_one(self) -> int:
        return self.misses.n - self.new_waits

    def _accusations(self, new: str, old: str) -> Iterator[Phrase]:
        if self.new.reached_at is not None:
            yield Phrase(
                "{model} flagged {n} good ones of {parts} parts, and its certificate allows {rate:.2%} (E reached "
                "{limit:g} after {reached} parts)",
                model=new, n=self.new.ones, parts=self.counts.parts, rate=self.new.rate, limit=ROLLBACK,
                reached=self.new.reached_at,
            )  # fmt: skip
        if self.misses.reached_at is not None:
            yield Phrase(
                "of {n} defects that only one of them flagged {ones} were flagged by {model} (E reached {limit:g} "
                "after {reached})",
                n=self._defects_of_one, ones=self.misses.ones, model=old, limit=ROLLBACK,
                reached=self.misses.reached_at,
            )  # fmt: skip

    def _nothing(self, new: str, old: str) -> Phrase:
        return Phrase(
            "{new} flagged {false_alarms} good ones of {parts} parts (E = {e:.2g}), and of {defects} defects "
            "that only one of them flagged {misses} were flagged by {old} (E = {e_misses:.2g}): neither is "
            "evidence against it",
            new=new, false_alarms=self.new.ones, parts=self.counts.parts, e=self.new.e, old=old,
            defects=self._defects_of_one, misses=self.misses.ones, e_misses=self.misses.e,
        )  # fmt: skip

    def _of_old(self, old: str) -> Phrase:
        if self.old_fails:
            return Phrase("{old} flagged {n} good ones and fails the same test", old=old, n=self.old.ones)
        if self.old_holds:
            return Phrase("{old} flagged {n} good ones and passes the same test", old=old, n=self.old.ones)
        return Phrase(
            "whether {old} passes the same test and can take over is not known before its flags are reviewed: {n} of "
            "them wait, and the queue has these first",
            old=old, n=self.old_waits,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A shadow as its reviews have it now: flags of the candidate that nobody has confirmed as defects.

    Attributes:
        counts: of its parts.
        rate: what the candidate's certificate allows.
        n: parts, without the confirmed defects that it flagged.
        flagged: of these.
    """

    counts: Counts
    rate: float
    n: int
    flagged: int

    @property
    def exceeds(self) -> bool:
        """Whether more is flagged than the certificate allows: exact, one-sided, at one look."""
        return exceeds_rate(self.flagged, self.n, self.rate, level=SHADOW_LEVEL, looks=1)

    def numbers(self) -> dict[str, Any]:
        """The record as plain JSON."""
        return {**_counted(self.counts), "rate": self.rate, "flagged": self.flagged, "of": self.n}

    def words(self, new: str) -> str:
        """What the test says, for people; `new` names the candidate."""
        p_value = binomial_tail(self.flagged, self.n, self.rate)
        test = {"new": new, "flagged": self.flagged, "n": self.n, "rate": self.rate, "p_value": p_value}
        if self.exceeds:
            return Phrase(
                "in the shadow {new} flagged {flagged} of {n} parts that are no confirmed defects, more than the "
                "{rate:.2%} of its certificate (exact binomial test, p = {p_value:.2g})",
                **test,
            )
        return Phrase(
            "in the shadow {new} flagged {flagged} of {n} parts that are no confirmed defects, not more than the "
            "{rate:.2%} of its certificate (exact binomial test, p = {p_value:.2g})",
            **test,
        )


def parts(frames: Iterable[Seen], *, new_decides: bool) -> list[Part]:
    """The parts of a watch in the order of inspection, each at the place of its first frame.

    A part is a defect where any of its frames is; normal once every frame that was flagged is.

    Args:
        frames: in the order of inspection.
        new_decides: whether `flagged` is the new model's and `other_flagged` the old one's, or the reverse.
    """
    by_part: dict[tuple[int, str], list[Seen]] = {}
    for frame in frames:
        by_part.setdefault((frame.station_id, frame.part), []).append(frame)
    return [_part(of_one, new_decides) for of_one in by_part.values()]


def judge(found: Sequence[Part], rate: float, old_rate: float) -> Judgement:
    """Both tests of the new model, and the first one of the old model.

    People review in any order, so a part that waits must count as what is best for the new model: then after each part
    E is at most what it will be once all are reviewed, whatever they turn out to be, and who is accused now is then.
    Of false alarms such a part is none. Of misses, where the new model alone flagged it, it is a defect that the new
    one alone saw, an outcome of 0: reviewed as one it stays that, and as normal it goes, which takes a factor below 1
    out of E. Where the old one alone flagged it, it is left out: reviewed as normal it stays out, and as a defect it
    puts a factor above 1 into E.

    The old model is to decide again only where it passes the first test in any case, so `old_at_worst` takes each of
    its flags that waits for a false alarm: its E is at least what it will be.

    Args:
        found: in the order of inspection.
        rate: good parts that the new model may flag, by its certificate.
        old_rate: likewise the old one.
    """
    of_one = [one for one in found if one.new != one.old and (one.verdict == "defect" or (one.new and one.waits))]
    return Judgement(
        Counts.of(found),
        new=evidence_against(rate, [one.new and one.verdict == "normal" for one in found]),
        misses=evidence_against(EVEN, [one.old for one in of_one]),
        old=evidence_against(old_rate, [one.old and one.verdict == "normal" for one in found]),
        old_at_worst=evidence_against(old_rate, [one.old and one.verdict != "defect" for one in found]),
        new_waits=sum(one.waits for one in of_one),
    )


def shadowed(found: Sequence[Part], rate: float) -> Shadowed:
    """The candidate's flag rate. Flags that nobody has reviewed count against it; confirmed defects do not."""
    defects = sum(one.new and one.verdict == "defect" for one in found)
    return Shadowed(Counts.of(found), rate, len(found) - defects, sum(one.new for one in found) - defects)


def in_excess(new_only: int, old_only: int) -> bool:
    """Whether the new model alone flags more parts than the old one alone, beyond chance: a hint, never an accusation.

    Were both equal, each of these parts would be either's with probability 1/2, independently (the sign test, exact and
    one-sided). Looks are not corrected for, and a better model flags more defects: a challenger that holds its
    certificate fails this test often, so it may raise attention and decides nothing.

    Args:
        new_only: parts that the new model alone flagged, reviewed or not.
        old_only: likewise the old one.
    """
    n = new_only + old_only
    return n >= EXCESS_OF and exceeds_rate(new_only, n, EVEN, level=EXCESS_LEVEL, looks=1)


def _part(frames: Sequence[Seen], new_decides: bool) -> Part:
    decides, beside = any(one.flagged for one in frames), any(one.other_flagged for one in frames)
    flagged = [one.decision for one in frames if one.flagged or one.other_flagged]
    verdict = None
    if any(one.decision == "defect" for one in frames):
        verdict = "defect"
    elif flagged and all(said == "normal" for said in flagged):
        verdict = "normal"
    return Part(*((decides, beside) if new_decides else (beside, decides)), verdict)


def _counted(counts: Counts) -> dict[str, Any]:
    return {name: getattr(counts, name) for name in ("parts", "new_only", "old_only", "both", "reviewed")}
