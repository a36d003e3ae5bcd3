"""Text that came with a frame stays text: nothing that Markdown or Streamlit knows comes of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dashboard.tables import JOINER, plain

# What Streamlit looks for in the text itself, once the escapes are gone.
LATE = re.compile(
    r"https?://|www\.|[-.\w+]@[-\w]+\.|:(?!\d\d:)[-+\w]+:|:material/\w+:|->|<-|--", re.ASCII | re.IGNORECASE
)
ODD = st.text(st.one_of(st.sampled_from("\\`*_{}[]()<>#+-.!|~:$@/=&;\"' \n\twW1ahtps"), st.characters(codec="utf-8")))


@given(ODD)
@example("![x](http://x) <b> **bold** `code` $x$ www.example.org a@b.org")
@example("# head")
@example("\0")
@example("    code")
@example("1. one\n2. two")
@example(":fire: :material/bolt: :red[x] 10:07:30 :+1:")
@example("&amp; &#42; ->")
@example("| a | b |\n| - | - |")
def test_it_is_one_paragraph_of_that_text(text: str) -> None:
    for before in ("", "**All** "):
        blocks = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(f"{before}{plain(text)}")
        inline = [one for one in blocks if one.type == "inline"]
        assert [one.type for one in blocks if one.type != "inline"] in (["paragraph_open", "paragraph_close"], [])
        parts = [one for each in inline for one in each.children or [] if one.content or one.nesting]
        kinds = [one.type for one in parts if one.type not in ("text", "text_special")]
        assert kinds == (["strong_open", "strong_close"] if before else [])
        shown = "".join(one.content for one in parts)
        wanted = f"{before.replace('*', '')}{re.sub(chr(92) + 's+', ' ', text)}".replace(
            "\0", "\ufffd"
        )  # CommonMark 2.3
        assert shown.replace(JOINER, "").split() == wanted.replace(JOINER, "").split()
        assert not LATE.search(shown), shown


@pytest.mark.parametrize("text", ["press-1", "10:07:30", "held: 3 of 4"])
def test_usual_text_has_nothing_in_it_that_one_does_not_see(text: str) -> None:
    assert JOINER not in plain(text)
