"""An audit event's detail in words: names and values, changes by what differs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.details import CHANGE, told

PEOPLE = {3: "kim"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("detail", "words"),
    [
        ({}, ""),
        ({"decision": "defect", "reason": "needs_person", "note": "a long one"},
         "decision: defect, reason: needs person, note: “a long one”"),
        ({"from": "viewer", "to": "operator"}, "viewer → operator"),
        ({"from": "proposed", "reason": "a thumb"}, "from: proposed, reason: “a thumb”"),
        ({"from": {"audit_rate": 0.01, "product": "cup"}, "to": {"audit_rate": 0.05, "product": "cup"}, "starts": []},
         "audit rate: 0.01 → 0.05"),
        ({"from": {"input": {"rows": 2}}, "to": {"input": None}}, "input: (rows: 2) → –"),
        ({"proposed_by": 3, "others_by": 4, "n": 3}, "proposed by: kim, others by: 4, n: 3"),
        ({"ids": [1, 2, 3, 4, 5]}, "ids: 1, 2, 3, 4, 5"),
        ({"ids": [*range(1, 1206)]}, "ids: 1, 2, 3, 4, 5 and 1,200 more"),
        ({"own": True, "took_back": None, "n": 0}, "own: yes, n: 0"),
    ],
)  # fmt: skip
def test_a_detail_is_told_in_words(detail: dict[str, object], words: str) -> None:
    assert told(detail, PEOPLE) == words


@given(st.dictionaries(st.text().filter(lambda name: name not in CHANGE), JSON))
def test_whatever_json_holds_can_be_told(detail: dict[str, object]) -> None:
    assert (told(detail, PEOPLE) == "") <= all(not value for value in detail.values())
