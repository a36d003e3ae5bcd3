"""What the parts of a watch say of its two models."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from agent.store.watches import Seen
from agent.watching.judging import EXCESS_OF, Part, in_excess, judge, parts, shadowed

PARTS = st.builds(Part, st.booleans(), st.booleans(), st.sampled_from(["normal", "defect"]))


def test_a_part_is_one_at_its_station_whatever_frames_it_has() -> None:
    frames = [
        Seen(1, "A", False, False, None),
        Seen(1, "B", True, False, "normal"),
        Seen(1, "A", True, False, "normal"),
        Seen(2, "A", False, True, None),
        Seen(1, "B", False, True, None),  # still to be reviewed
        Seen(1, "C", True, False, "normal"),
        Seen(1, "C", False, False, "defect"),  # audited: one bad frame is a bad part
    ]
    found = parts(frames, new_decides=True)
    assert found == [
        Part(True, False, "normal"), Part(True, True, None), Part(False, True, None), Part(True, False, "defect")
    ]  # fmt: skip
    assert parts(frames, new_decides=False) == [Part(one.old, one.new, one.verdict) for one in found]
    assert [one.waits for one in found] == [False, True, True, False]


def test_only_good_parts_that_the_new_model_flagged_count_against_it() -> None:
    found = [Part(True, True, "normal")] * 3 + [Part(False, True, "normal")] * 30 + [Part(True, False, "defect")] * 30
    judged = judge(found, 0.5, 0.05)
    assert (judged.new.ones, judged.old.ones, judged.misses.n, judged.misses.ones) == (3, 33, 30, 0)
    assert not judged.accused
    assert judged.old_fails and not judged.old_holds
    assert judged.numbers()["both"] == 3


def test_defects_that_the_old_model_alone_flagged_accuse_the_new_one() -> None:
    judged = judge([Part(False, True, "defect")] * 12, 0.05, 0.05)
    assert judged.accused
    assert judged.misses.reached_at is not None
    assert "of 12 defects that only one of them flagged 12 were flagged by v1" in judged.words("v2", "v1")


@given(st.lists(PARTS | st.just(Part(False, True, "defect")), max_size=60), st.data())
def test_what_is_not_reviewed_yet_never_accuses(found: list[Part], data: st.DataObject) -> None:
    """Whatever waiting parts turn out to be: E is at most what it will be, and who is accused now is accused then."""
    known = data.draw(st.lists(st.booleans(), min_size=len(found), max_size=len(found)))
    partly = [one if keep else replace(one, verdict=None) for one, keep in zip(found, known, strict=True)]
    whole, now = judge(found, 0.05, 0.05), judge(partly, 0.05, 0.05)
    assert now.new.ones <= whole.new.ones
    if now.new.reached_at is not None:
        assert whole.new.reached_at is not None
        assert whole.new.reached_at <= now.new.reached_at
    assert now.misses.log_e <= whole.misses.log_e + 1e-9
    assert whole.misses.reached_at is not None or now.misses.reached_at is None
    assert whole.old_holds or not now.old_holds
    assert whole.old_fails or not now.old_fails
    assert whole.old_holds != whole.old_fails, "once all is reviewed it is one of the two"


def test_the_order_of_the_reviews_accuses_nobody() -> None:
    """Two equal models, 12 defects that each alone sees, and the old one's happen to be reviewed first."""
    waiting = [Part(True, False, None), Part(False, True, "defect")] * 12
    judged = judge(waiting, 0.05, 0.05)
    assert not judged.accused
    assert (judged.misses.n, judged.misses.ones, judged.new_waits) == (24, 12, 12)
    assert judged.numbers()["defects_of_one"] == 12, "the others may turn out to be none"
    said = judged.words("v2", "v1")
    assert "of 12 defects that only one of them flagged 12 were flagged by v1" in said
    assert "12 that v2 alone flagged are not reviewed yet and count as defects here" in said
    blind = judge([replace(one, verdict=one.verdict or "normal") for one in waiting], 0.05, 0.05)
    assert blind.misses.reached_at == 11, "none of its flags were defects"


def test_an_old_model_whose_flags_wait_neither_passes_nor_fails() -> None:
    accused, waiting = [Part(False, True, "defect")] * 12, [Part(False, True, None)] * 200
    judged = judge(accused + waiting, 0.05, 0.05)
    assert judged.accused and not judged.old_holds and not judged.old_fails
    assert judged.numbers()["old_waits"] == 200
    assert "can take over is not known before its flags are reviewed: 200 of them wait" in judged.words("v2", "v1")
    few = judge(accused + waiting[:1] + [Part(False, False, None)] * 200, 0.05, 0.05)
    assert few.old_holds, "one false alarm more would not be too many"
    for verdict, passes in (("defect", True), ("normal", False)):
        told = judge(accused + [replace(one, verdict=verdict) for one in waiting], 0.05, 0.05)
        assert (told.old_holds, told.old_fails) == (passes, not passes)


@pytest.mark.parametrize("n", [EXCESS_OF - 1, EXCESS_OF, 57, 400])
def test_an_excess_of_flags_is_one_beyond_chance_and_beyond_noise(n: int) -> None:
    for new_only in range(n + 1):
        beyond = stats.binomtest(new_only, n, 0.5, alternative="greater").pvalue < 0.01
        assert in_excess(new_only, n - new_only) == (beyond and n >= EXCESS_OF)


def test_in_a_shadow_flags_count_until_they_are_confirmed_defects() -> None:
    good, bad = Part(False, False, None), Part(True, False, None)
    waiting = shadowed([good] * 90 + [bad] * 12, 0.05)
    assert (waiting.flagged, waiting.n, waiting.exceeds) == (12, 102, True)
    confirmed = shadowed([good] * 90 + [replace(bad, verdict="defect")] * 12, 0.05)
    assert (confirmed.flagged, confirmed.n, confirmed.exceeds) == (0, 90, False)
