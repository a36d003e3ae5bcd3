"""When a watch has seen enough, and the words for what it waits for."""

from __future__ import annotations

from dataclasses import replace

from agent.watching.judging import Part
from agent.watching.stopping import Stop, stop

GOOD, WAITS = Part(False, False, None), Part(True, False, None)
DEFECT, ESCAPE = replace(WAITS, verdict="defect"), replace(GOOD, verdict="defect")


def _stop(found: list[Part], parts: int, defects: int = 0) -> Stop:
    return stop(found, len(found), parts, defects)


def test_parts_alone_end_it_where_no_defects_are_wanted() -> None:
    found = [DEFECT, GOOD, GOOD, WAITS]
    assert [_stop(found, n).reached for n in (3, 4, 5)] == [True, False, False]
    assert [_stop(found, n).full for n in (3, 4, 5)] == [True, True, False]
    assert [_stop(found, n).words for n in (3, 4, 5)] == [
        "", "it waits for the review of flagged parts, 1 of them", "it waits for 5 parts",
    ]  # fmt: skip


def test_it_waits_for_defects_that_either_flagged() -> None:
    few = _stop([GOOD] * 10 + [DEFECT, ESCAPE, WAITS], 10, 2)
    assert (few.full, few.defects) == (False, 1), "of the escape neither says anything, of the other nobody has yet"
    assert few.words == "it waits for 2 confirmed defects that either flagged (1 so far), or for 100 parts"
    enough = _stop([GOOD] * 10 + [DEFECT, ESCAPE, DEFECT, WAITS], 10, 2)
    assert (enough.at, enough.reached, enough.words) == (13, True, "")
    early = _stop([DEFECT] * 3, 10, 2)
    assert (early.full, early.words) == (False, "it waits for 10 parts")
    neither = _stop([GOOD], 10, 2)
    assert neither.words == (
        "it waits for 10 parts; it waits for 2 confirmed defects that either flagged (0 so far), or for 100 parts"
    )


def test_at_the_cap_it_says_how_little_it_could_tell() -> None:
    found = [GOOD] * 98 + [WAITS, DEFECT]
    assert not _stop(found[:-1], 10, 2).full
    waiting = _stop(found, 10, 2)
    assert (waiting.full, waiting.reached) == (True, False)
    assert waiting.words == "it waits for the review of flagged parts, 1 of them"
    ended = _stop([GOOD] * 99 + [DEFECT], 10, 2)
    assert ended.reached
    assert ended.words == (
        "only 1 of the 2 confirmed defects wanted came in 100 parts: so few that a model blind to defects could not be "
        "told for sure"
    )
    assert ended.numbers() == {"full": True, "defects": 1, "wanted_parts": 10, "wanted_defects": 2, "cap": 100}


def test_serials_that_repeat_end_it_before_and_after_there_are_enough_parts() -> None:
    assert [stop([GOOD], frames, 4, 2).full for frames in (79, 80)] == [False, True]
    assert [stop([GOOD] * 4, frames, 4, 2).full for frames in (80, 799, 800)] == [False, False, True]
    crowded = stop([GOOD] * 4, 800, 4, 2)
    assert crowded.crowded == (
        "800 frames are of only 4 different parts, fewer than the 40 wanted, and no more are drawn: serials repeat"
    )
    assert "only 0 of the 2 confirmed defects wanted came in 4 parts" in crowded.words
    assert not stop([WAITS] * 4, 800, 4, 2).reached
