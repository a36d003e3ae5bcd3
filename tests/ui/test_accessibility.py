"""axe-core finds nothing serious on any page, in either theme, as an admin, who sees most of it."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.ui.plant import Served
from tests.ui.walk import PAGES, opened

SEVERE = {"serious", "critical"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_violation(page: Page, works: Served, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    found = []
    for name, (address, shown) in PAGES.items():
        opened(page, works.url, address, "admin", shown)
        found += [f"{name}: {one}" for one in violations(page)]
    assert found == []


def violations(page: Page) -> list[str]:
    """What is serious or critical, with the element; of all elements, Streamlit's own too."""
    report: dict[str, Any] = Axe().run(page).response
    return [
        f"{one['id']} at {node['target']}: {node['html'][:200]}: {node['failureSummary']}"
        for one in report["violations"]
        if one["impact"] in SEVERE
        for node in one["nodes"]
    ]
