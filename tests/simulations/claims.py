"""What the statistics promise, each with the simulation that could refute it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from agent.retrain.gate import APPROVED_LEVEL
from agent.settings import Watch
from model.statistics import ROLLBACK, look_delta
from tests.simulations import approvals, audits, certificates, drifts, watches
from tests.simulations.results import Delay, Share

MILLION = 1_000_000
Seen = Share | Delay
Simulation = Callable[..., Seen]  # takes runs and seed


@dataclass(frozen=True)
class Claim:
    """A sentence, what a simulation must then show, and how many runs are few (for a test) and many (for people)."""

    sentence: str
    simulate: Simulation
    expected: str
    holds: Callable[[Seen], bool]
    few: int
    many: int


def at_most(bound: float, sentence: str, simulate: Simulation, few: int = 1000, many: int = 10_000) -> Claim:
    """A share that is bounded, up to 4 standard errors."""
    return Claim(sentence, simulate, f"at most {bound:.2%}", lambda seen: share(seen).at_most(bound), few, many)


def breaks(bound: float, sentence: str, simulate: Simulation, few: int = 1000, many: int = 10_000) -> Claim:
    """A share that is above the bound, beyond 4 standard errors: what the method avoids."""
    return Claim(sentence, simulate, f"above {bound:.2%}", lambda seen: share(seen).above(bound), few, many)


def at_least(bound: float, sentence: str, simulate: Simulation, few: int = 500, many: int = 5000) -> Claim:
    """A share that was seen to be so large: what the method catches."""
    return Claim(sentence, simulate, f"at least {bound:.0%}", lambda seen: share(seen).share >= bound, few, many)


def soon(median: int, sentence: str, simulate: Simulation, few: int, many: int) -> Claim:
    """A change that is caught in 9 of 10 runs at least, in half of them within so many parts."""

    def holds(seen: Seen) -> bool:
        return isinstance(seen, Delay) and seen.median <= median and seen.caught.share >= 0.9

    return Claim(sentence, simulate, f"median at most {median}", holds, few, many)


def share(seen: Seen) -> Share:
    """Runs in which it happened at all."""
    return seen.caught if isinstance(seen, Delay) else seen


def of_certificates() -> list[Claim]:
    each, first = look_delta(certificates.DELTA, 1), partial(certificates.broken, review=0.05, reject=0.01)
    rare, best = (
        partial(certificates.broken, review=0.01, reject=0.001),
        partial(certificates.broken_after, versions=20),
    )
    return [
        at_most(each, "a first certificate of 82 good parts (5 %) breaks a promise", partial(first, n=82)),
        at_most(each, "one of 417 (5 % and 1 %) does", partial(first, n=417)),
        at_most(each, "one of 500 (1 %) does", partial(rare, n=500)),
        at_most(0.05, "the best of 20 versions certified on one epoch breaks its promise", partial(best, looks=True)),
        breaks(0.05, "it does, were no error spent on looks", partial(best, looks=False)),
    ]


def of_audits() -> list[Claim]:
    passes, doubt, rates = audits.broken_by_passes, audits.broken_by_doubt, audits.uncovered
    escape, miss, false_alarm = (partial(rates, rate) for rate in ("escape_rate", "miss_rate", "false_alarm_rate"))
    return [
        at_most(0.05, "a certificate made of the audit sample breaks its promise", partial(passes, audited=True)),
        breaks(0.05, "one made of confirmed passes alone does", partial(passes, audited=False)),
        at_most(0.05, "one whose `unsure` parts a second person decides does", partial(doubt, second_person=True)),
        breaks(0.05, "one whose `unsure` parts are dropped does", partial(doubt, second_person=False)),
        at_most(0.05, "the interval leaves out the escape rate, 4 % being undecided", partial(escape, counted=True)),
        at_most(0.05, "it leaves out the miss rate then", partial(miss, counted=True)),
        at_most(0.05, "it leaves out the false-alarm rate then", partial(false_alarm, counted=True)),
        breaks(0.05, "it leaves out the escape rate, were these dropped", partial(escape, counted=False)),
    ]


def of_approvals() -> list[Claim]:
    """Of newly approved normals at the gate: of good parts, and of 18 defects approved by mistake."""
    line, level = approvals.Line, APPROVED_LEVEL
    good, large = (partial(approvals.asks, one, looks=5) for one in (line(), line(calibration=417, parts=3000, k=3)))
    flags = partial(approvals.asks, line(parts=1000), counted=False)

    def wrong(parts: int, calibration: int = 84, mislabelled: int = 0) -> Simulation:
        return partial(approvals.asks, line(calibration, parts, 18, mislabelled))

    return [
        at_most(level, "good false alarms are said to be too many in 5 looks, n = 84", good),
        at_most(level, "they are, n = 417", large),
        breaks(level, "they are, were only flagged parts counted, n = 84", flags, 500, 5000),
        at_least(0.99, "18 defects approved among 50 parts are seen, n = 84", wrong(50)),
        at_least(0.99, "they are where one calibration part is a defect", wrong(50, mislabelled=1)),
        at_most(0.5, "they are among 300 parts, n = 84", wrong(300), 500, 5000),
        at_least(0.9, "they are among 300 parts, n = 417", wrong(300, 417)),
        at_most(0.5, "they are among 3000 parts, n = 417", wrong(3000, 417), 500, 5000),
    ]


def of_false_alarms(rate: float, median: int) -> list[Claim]:
    """Of a model that is promoted with the certified rate a."""
    accused, bound, a = partial(watches.accused, rate=rate), 1 / ROLLBACK, f"a = {rate:.0%}"
    kept = watches.Line(5000, 0, 0, new_false_alarms=rate)
    tenfold = watches.Line(5000, defects_later=0.1, new_false_alarms=rate)
    doubled = watches.Line(10_000, 0, 0, new_false_alarms=2 * rate)
    flags = partial(accused, tenfold, reviewed=False)
    return [
        at_most(bound, f"a model that keeps its rate is accused within 5000 parts, {a}", partial(accused, kept)),
        at_most(bound, f"it is where the defect rate jumps tenfold, {a}", partial(accused, tenfold)),
        breaks(bound, f"it is then, were flags counted without reviews, {a}", flags, 100, 1000),
        soon(median, f"parts to catch a true rate of 2a, {a}", partial(accused, doubled), 300, 3000),
    ]


def of_stops(defects: float) -> list[Claim]:
    """Of a model that misses defects, of which there are so many, before its watch ends; the old one sees 90 %."""

    def seeing(sees: float, wanted: int = Watch().defects) -> Simulation:
        line = watches.Line(watches.MOST, defects, defects, new_sees=sees)
        return partial(watches.called_blind, line, wanted=wanted)

    some = f"{defects:.1%} defects"
    return [
        at_least(0.99, f"one that sees none is caught before its watch ends, {some}", seeing(0.0)),
        at_least(0.9, f"one that sees 20 % is, {some}", seeing(0.2)),
        at_most(0.5, f"one that sees 45 % is: half of what the old one does, {some}", seeing(0.45), 500, 5000),
    ]


def of_watches() -> list[Claim]:
    equal, blind = (partial(watches.called_blind, watches.Line(20_000, new_sees=sees)) for sees in (0.9, 0.2))
    either = partial(watches.accused_at_all, watches.Line(watches.MOST), rate=0.05)
    rare = partial(watches.called_blind, watches.Line(watches.MOST, 0.005, 0.005, new_sees=0.0), wanted=0)
    return [
        *of_false_alarms(0.05, median=200),
        *of_false_alarms(0.01, median=1200),
        at_most(1 / ROLLBACK, "an equal model is called blind within 20000 parts, 1 % defects", equal, 500, 5000),
        at_most(2 / ROLLBACK, f"one is accused by either test within {watches.MOST} parts", either, 500, 5000),
        soon(2500, "parts to catch one that sees 20 % of the defects, the old one 90 %", blind, 300, 3000),
        *of_stops(0.01),
        *of_stops(0.005),
        at_most(0.5, "one that sees none is, were parts alone to end it, 0.5% defects", rare, 500, 5000),
    ]


def of_drift(n: int) -> list[Claim]:
    """Of a stream that begins with n calibration scores."""
    alarm, often, shifted = look_delta(0.01, 1), look_delta(0.2, 1), partial(drifts.caught, n=n)
    still = partial(drifts.false_alarms, n=n, parts=MILLION, alpha=0.01)
    short = partial(drifts.false_alarms, n=n, parts=1000, alpha=0.2)
    fixed = partial(drifts.false_alarms_of_fixed_ranks, n=n, parts=MILLION, alpha=0.01)
    return [
        at_most(alarm, f"a million parts without a change raise an alarm, n = {n}", still, 3, 40),
        at_most(often, f"a thousand do at alpha = 20 %, n = {n}", short, 400, 4000),
        breaks(alarm, f"a million do, were they ranked among the {n} only", fixed, 3, 40),
        soon(80, f"parts to catch a shift of half a spread at once, n = {n}", partial(shifted, before=0), 100, 1000),
        soon(120, f"parts to catch it after 1000 parts, n = {n}", partial(shifted, before=1000), 100, 1000),
        soon(150, f"parts to catch it after 100000 parts, n = {n}", partial(shifted, before=100_000), 5, 100),
    ]


def of_drifts() -> list[Claim]:
    defects = partial(drifts.alarms_by_defects, n=299, share=0.01, parts=50_000)
    return [
        *of_drift(120),
        *of_drift(299),
        at_most(0.01, "50000 parts of which 1 % are defects throughout raise an alarm, n = 299", defects, 10, 100),
    ]


GROUPS = {
    "Certificates": of_certificates,
    "Audit sample": of_audits,
    "Approved normals at the gate": of_approvals,
    "Watch after a promotion": of_watches,
    "Drift": of_drifts,
}
