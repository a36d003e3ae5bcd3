"""What a product was stays to be found by its name once it is made no more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from agent.settings import Settings
from agent.store import products
from agent.store.engine import writing
from dashboard import context
from tests.databases import NOW, Line


def _trends() -> None:
    from dashboard.views import trends

    trends.show()


def _triage() -> None:
    from dashboard.views import triage

    triage.show()


@pytest.mark.parametrize("show", [_trends, _triage])
def test_a_retired_product_can_be_asked_for(
    here: Line, monkeypatch: pytest.MonkeyPatch, show: Callable[[], None]
) -> None:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    with writing(here.engine) as conn:
        products.retire(conn, here.product_id, NOW)
    page = AppTest.from_function(show, default_timeout=30)
    page.session_state["actor"] = here.engineer
    page.query_params["product"] = "flange"
    page.run()
    assert not page.exception, page.exception
    (product,) = (one for one in page.selectbox if one.label == "Product")
    assert "flange" in product.options and product.value == "flange"
