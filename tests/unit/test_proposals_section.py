"""What the page Models says of proposals that wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from agent.settings import Settings
from agent.store import epochs, samples
from agent.store.engine import writing
from agent.store.samples import NewSample
from dashboard import context
from tests.databases import NOW, line, sha


def _section(product_id: int) -> None:
    from dashboard import proposals

    proposals.show(product_id)


def test_after_a_change_it_says_how_many_a_person_must_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with line(tmp_path) as here:
        monkeypatch.setattr(context, "engine", lambda: here.engine)
        monkeypatch.setattr(context, "settings", Settings)

        def captions() -> str:
            page = AppTest.from_function(_section, kwargs={"product_id": here.product_id}, default_timeout=30)
            page.session_state["actor"] = here.engineer
            page.run()
            assert not page.exception, page.exception
            return " ".join(one.value for one in page.caption)

        with writing(here.engine) as conn:
            for number, state in enumerate(("quarantined", "accepted")):
                item = here.add_item(conn, number)
                new = NewSample(here.product_id, "train", "flagged", sha(number), sha(number), state=state)
                samples.add(conn, replace(new, item_id=item.id), NOW)
        assert "1 for a second person" in captions() and "changed" not in captions()
        with writing(here.engine) as conn:
            epochs.open(conn, here.product_id, "camera", "a new lens", now=NOW)
        assert "Once 19 more of those that came since are accepted" in captions()
