"""Prints what the statistics promise beside what simulated streams show: `python -m tests.simulations`."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulations.claims import GROUPS, Claim


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulations", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--few", action="store_true", help="as few runs as the tests take")
    parser.add_argument("--only", default="", metavar="WORDS", help="claims that say so; all without this")
    asked = parser.parse_args()
    refuted = 0
    for group, claims in GROUPS.items():
        wanted = [one for one in claims() if asked.only in one.sentence]
        if wanted:
            print(f"\n{group}")
        for claim in wanted:
            refuted += not shown(claim, claim.few if asked.few else claim.many, asked.seed)
    print(f"\n{refuted} refuted" if refuted else "\nall hold")
    return 1 if refuted else 0


def shown(claim: Claim, runs: int, seed: int) -> bool:
    """Simulates one claim and prints its lines: the sentence at once, the numbers when they are there."""
    print(f"  {claim.sentence}", flush=True)
    began = time.perf_counter()
    seen = claim.simulate(runs=runs, seed=seed)
    verdict = "ok" if claim.holds(seen) else "REFUTED"
    print(f"    {verdict:<7} {claim.expected:<20} {seen}  [{time.perf_counter() - began:.0f} s]", flush=True)
    return claim.holds(seen)


if __name__ == "__main__":
    sys.exit(main())
