"""Every promise of the statistics holds on simulated streams, and what the method avoids does break it."""

from __future__ import annotations

import pytest

from tests.simulations.claims import GROUPS, Claim

CLAIMS = [claim for claims in GROUPS.values() for claim in claims()]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.sentence)
def test_the_claim_holds(claim: Claim) -> None:
    seen = claim.simulate(runs=claim.few, seed=1)
    assert claim.holds(seen), f"{claim.sentence}: {seen}, expected {claim.expected}"
