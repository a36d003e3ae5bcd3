"""Signing in at a provider of identities: a real one, which speaks OpenID Connect, in a real browser."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Page, expect

from agent.demo.server import free_port
from agent.service import users as service
from agent.settings import utc_now
from agent.store import audit
from agent.store.engine import reading
from agent.store.local_blobs import LocalBlobs
from tests.databases import line
from tests.ui.plant import Served, open_items, seed, serving, until

NAME = "kim@plant.example"


@contextmanager
def provider(folder: Path) -> Iterator[str]:
    """A provider of identities on a free port: whoever asks says who they are."""
    url = f"http://localhost:{(port := free_port())}"

    def answers() -> bool:
        try:
            with urlopen(f"{url}/.well-known/openid-configuration", timeout=1) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False

    log = folder / "provider.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
        with subprocess.Popen(command, stdout=out, stderr=out) as process:
            try:
                until(answers, log.read_text)
                yield url
            finally:
                process.terminate()


@pytest.fixture(scope="module")
def provided(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("provided")
    with line(folder) as made, provider(folder) as issuer:
        blobs = LocalBlobs(folder / "blobs")
        seed(made, blobs)
        service.add(made.engine, made.admin, NAME, "operator", key="kim", now=utc_now())
        environ = {
            "GOODPART_OIDC__ISSUER": issuer,
            "GOODPART_OIDC__VERIFIED": "false",  # it says nothing of that
            "GOODPART_OIDC__CLIENT_ID": "goodpart", "GOODPART_OIDC__CLIENT_SECRET": "told nobody",
        }  # fmt: skip
        with serving(made.engine, folder, environ) as url:
            yield Served(url, made, blobs)
        assert "told nobody" not in (folder / "dashboard.log").read_text()


def ask(page: Page, sub: str) -> None:
    """Goes to the provider and says there who one is."""
    page.get_by_role("button", name="Sign in with your organisation").click()
    page.get_by_placeholder("sub").fill(sub)
    page.get_by_role("button", name="Authorize").click()


def test_whom_the_provider_names_gets_the_role_that_they_have_here(page: Page, provided: Served) -> None:
    page.goto(f"{provided.url}/audit")
    expect(page.get_by_role("button", name="Sign in with your organisation")).to_be_visible()
    expect(page.get_by_label("Password")).to_have_count(0)
    ask(page, NAME)
    expect(page.get_by_text(f"{NAME} · operator")).to_be_visible()
    expect(page.get_by_role("link", name="Audit")).to_have_count(0)
    names = {one["name"] for one in page.context.cookies()}
    assert any(one.startswith("goodpart_session") for one in names)
    assert not any(one.startswith("_streamlit_user") for one in names)
    picture = page.goto(f"{provided.url}/blob/{open_items(provided.line)[0].frame_sha256}")
    assert picture is not None and picture.status == 200
    page.goto(provided.url)
    page.get_by_role("button", name="Sign out or switch user").click()
    # Nobody comes back by what the provider said before.
    expect(page.get_by_role("button", name="Sign in with your organisation")).to_be_visible()
    with reading(provided.line.engine) as conn:
        assert [(one.action, one.detail) for one in audit.recent(conn, 2)] == [
            ("session.end", {"why": "signed out"}), ("session.open", {"method": "provider"}),
        ]  # fmt: skip


def test_the_dashboard_has_only_the_name_that_the_provider_sends_back_to(provided: Served) -> None:
    with pytest.raises(HTTPError) as caught:
        urlopen(provided.url.replace("127.0.0.1", "localhost"))
    with caught.value as answer:
        assert answer.code == 403 and provided.url in answer.read().decode()


def test_whom_nobody_has_added_is_told_so_and_sees_nothing(page: Page, provided: Served) -> None:
    page.goto(provided.url)
    ask(page, "<b>eve</b>@elsewhere.example")
    expect(page.get_by_text("you are no user here")).to_be_visible()
    expect(page.get_by_text("<b>eve</b>@elsewhere.example")).to_be_visible()
    expect(page.get_by_text("press-1")).to_have_count(0)
    assert not any(one["name"].startswith("goodpart_session") for one in page.context.cookies())
    # Who is refused there comes back to the sign-in.
    page.get_by_role("button", name="Sign in with your organisation").click()
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("button", name="Sign in with your organisation")).to_be_visible()


def test_who_is_disabled_does_not_come_in(page: Page, provided: Served, tmp_path: Path) -> None:
    made = provided.line
    service.add(made.engine, made.admin, "lee@plant.example", "admin", key="lee", now=utc_now())
    service.disable(made.engine, made.admin, "lee@plant.example", key="lee-d", now=utc_now())
    page.goto(provided.url)
    ask(page, "lee@plant.example")
    expect(page.get_by_text("you are no user here")).to_be_visible()
