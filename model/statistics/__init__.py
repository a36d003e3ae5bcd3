"""Order statistics, intervals, keyed draws, sequential tests and audited rates. Pure functions; no torch."""

from model.statistics.draws import keyed_fraction
from model.statistics.drift import Drift
from model.statistics.exceedances import RANKS, Exceedances, exceedance_tail, most_telling
from model.statistics.intervals import binomial_tail, clopper_pearson, exceeds_rate
from model.statistics.order import (
    USELESS,
    best_rate,
    certifiable_k,
    look_delta,
    needed_n,
    smallest_n,
    threshold_delta,
)
from model.statistics.rates import AuditSample, Judged, Rate
from model.statistics.watch import CAP, EVEN, ROLLBACK, Evidence, enough_at, evidence_against

__all__ = [
    "CAP",
    "EVEN",
    "RANKS",
    "ROLLBACK",
    "USELESS",
    "AuditSample",
    "Drift",
    "Evidence",
    "Exceedances",
    "Judged",
    "Rate",
    "best_rate",
    "binomial_tail",
    "certifiable_k",
    "clopper_pearson",
    "enough_at",
    "evidence_against",
    "exceedance_tail",
    "exceeds_rate",
    "keyed_fraction",
    "look_delta",
    "most_telling",
    "needed_n",
    "smallest_n",
    "threshold_delta",
]
