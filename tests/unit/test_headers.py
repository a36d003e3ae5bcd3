"""Headers of records as text: bounded, whatever a camera sends."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.pipeline import headers


@given(st.lists(st.tuples(st.text(max_size=1500), st.binary(max_size=6000)), max_size=60))
def test_an_items_headers_are_few_and_short_and_in_their_order(sent: list[tuple[str, bytes]]) -> None:
    kept = headers.texts(sent, headers.ITEM)
    assert len(kept) <= headers.MOST and sum(len(name) + len(text) for name, text in kept) <= headers.ITEM
    rest = iter(headers.texts(sent))
    assert all(one in rest for one in kept), "some of them, in their order"


def test_what_is_no_text_is_replaced_and_one_that_is_too_long_takes_no_other_s_place() -> None:
    sent = [("a", b"\xff1"), *[(f"long-{n}", b"x" * 5000) for n in range(9)], ("ce_sequence", b"41")]
    kept = headers.texts(sent, headers.ITEM)
    assert (kept[0], kept[-1]) == (("a", "\N{REPLACEMENT CHARACTER}1"), ("ce_sequence", "41"))
    assert {len(text) for name, text in kept if name.startswith("long")} == {headers.LONGEST}
    assert len(headers.texts(sent)) == len(sent)
