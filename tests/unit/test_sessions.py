"""Signing in and out: passwords, PINs, what locks them, and when a session is over."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from argon2 import extract_parameters, profiles

from agent.service import Invalid, PermissionDenied, passwords, sessions, users
from agent.service.passwords import check_pin, matches
from agent.service.sessions import FULL, PIN_TRIES, WRONG, WRONG_PIN, NotSignedIn
from agent.service.tries import FREE, LONGEST, MOST, Tries
from agent.store import audit, credentials
from agent.store import sessions as stored
from agent.store.engine import reading, writing
from agent.store.tables import claim, metadata
from agent.store.users import User
from tests.databases import NOW, Line

pytestmark = pytest.mark.usefixtures("each_database", "quick_hashes")
HASHER = passwords._hasher
WORDS, PIN = "correct horse battery", "2580"
IDLE = timedelta(minutes=10)
SECOND = timedelta(seconds=1)


@pytest.fixture
def kim(here: Line) -> User:
    """The operator, with a password and a PIN."""
    users.set_password(here.engine, here.admin, "operator", WORDS, key="w", now=NOW)
    users.set_pin(here.engine, here.operator, "operator", PIN, key="p", now=NOW)
    return here.operator


def _in(here: Line, password: str = WORDS, name: str = "operator", **given: Any) -> stored.Session:
    return sessions.by_password(
        here.engine, given.get("tries", Tries()), name, password, terminal="t1", now=given.get("now", NOW)
    )


def _pin(here: Line, pin: str = PIN, terminal: str = "t1", **given: Any) -> stored.Session:
    return sessions.by_pin(here.engine, "operator", pin, terminal=terminal, now=given.get("now", NOW))


def _who(here: Line, session: stored.Session, after: timedelta = SECOND) -> User | None:
    with reading(here.engine) as conn:
        return sessions.who(conn, session.id, IDLE, NOW + after)


def _actions(here: Line) -> list[str]:
    with reading(here.engine) as conn:
        assert audit.verify(conn) is None
        return [one.action for one in audit.recent(conn)][::-1]


def test_a_password_opens_a_session_until_nobody_is_there(here: Line, kim: User) -> None:
    made = _in(here)
    assert _who(here, made) == kim
    assert _who(here, made, IDLE - SECOND) == kim
    assert _who(here, made, IDLE) is None
    sessions.seen(here.engine, made.id, NOW + IDLE / 2)
    assert _who(here, made, IDLE) == kim
    with writing(here.engine) as conn:
        item = here.add_item(conn, 1)
        conn.execute(sa.insert(claim).values(item_id=item.id, user_id=kim.id, expires_at=NOW + IDLE))
    for _ in range(2):
        sessions.end(here.engine, made.id, "signed out", NOW + SECOND)
    sessions.seen(here.engine, made.id, NOW + SECOND)
    assert _who(here, made) is None
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(claim)).scalar_one() == 0
        assert sessions.who(conn, "f" * 32, IDLE, NOW) is None
    assert _actions(here) == ["user.set_password", "user.set_pin", "session.open", "session.end"]


@pytest.mark.parametrize("name", ["operator", "engineer", "nobody"])
def test_a_wrong_password_says_nothing_of_who_is_known(here: Line, kim: User, name: str) -> None:
    """The operator has a password, the engineer none, and nobody is nobody."""
    tries = Tries()
    for _ in range(FREE):
        with pytest.raises(NotSignedIn, match=WRONG):
            _in(here, "wrong password", name, tries=tries)
    with pytest.raises(NotSignedIn, match="try again in 1 s"):
        _in(here, WORDS, name, tries=tries)
    assert "session.open" not in _actions(here)


def test_wrong_passwords_make_a_name_wait_ever_longer_and_the_right_one_ends_that(here: Line, kim: User) -> None:
    tries = Tries()
    now = NOW
    for n in range(FREE + 20):
        assert not tries.begin("operator", now)
        if n + 1 >= FREE:
            wait = min(SECOND * 2 ** (n + 1 - FREE), LONGEST)
            assert tries.begin("operator", now) == wait  # and to be refused is no try
            now += wait
    assert not tries.begin("engineer", now)
    _in(here, tries=tries, now=now)
    assert not any(tries.begin("operator", now) for _ in range(FREE))
    for n in range(MOST + 1):
        tries.begin(f"name {n}", NOW)
    assert len(tries._failed) == MOST


def test_of_many_wrong_passwords_at_once_no_more_are_looked_at_than_one_by_one(
    here: Line, kim: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, all_begun = [], threading.Barrier(FREE)

    def look(stored: str | None, text: str) -> bool:
        looked.append(text)
        all_begun.wait(20)  # none of them is known to be wrong before all are looked at
        return False

    monkeypatch.setattr(passwords, "matches", look)
    tries, refused = Tries(), []

    def wrong(n: int) -> None:
        with pytest.raises(NotSignedIn) as caught:
            _in(here, f"wrong password {n}", tries=tries)
        refused.append(str(caught.value))

    threads = [threading.Thread(target=wrong, args=(n,)) for n in range(3 * FREE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looked) == refused.count(WRONG) == FREE
    assert len(refused) == 3 * FREE


def test_the_texts_are_nowhere_in_the_database(here: Line, kim: User) -> None:
    _in(here)
    with reading(here.engine) as conn:
        everything = repr([conn.execute(sa.select(table)).all() for table in metadata.tables.values()])
        own = credentials.of(conn, kim.id)
    assert WORDS not in everything and "2580" not in everything.replace(own.password or "", "").replace(
        own.pin or "", ""
    )
    assert (own.password or "").startswith("$argon2id$") and (own.pin or "").startswith("$argon2id$")
    assert matches(own.password, WORDS) and not matches(own.password, WORDS + "x") and not matches(None, "nobody's")
    assert "$argon2" not in repr(own)


def test_a_hash_costs_what_the_rfc_asks_for() -> None:
    assert extract_parameters(HASHER.hash(WORDS)) == profiles.RFC_9106_LOW_MEMORY


def test_a_pin_does_only_where_its_owner_signed_in_with_the_password_within_a_shift(here: Line, kim: User) -> None:
    with pytest.raises(NotSignedIn, match=WRONG_PIN):
        _pin(here)
    sessions.end(here.engine, _in(here).id, "signed out", NOW)
    assert _pin(here, now=NOW + FULL).method == "pin"
    for given in ({"terminal": "t2"}, {"now": NOW + FULL + SECOND}):
        with pytest.raises(NotSignedIn, match=WRONG_PIN):
            _pin(here, **given)
    with pytest.raises(NotSignedIn, match=WRONG_PIN):  # signing in with the PIN prolongs nothing
        _pin(here, now=NOW + FULL + SECOND)
    with reading(here.engine) as conn:
        assert sessions.pin_users(conn, "t1", NOW) == ["operator"]
        assert sessions.pin_users(conn, "t2", NOW) == sessions.pin_users(conn, None, NOW) == []


def test_wrong_pins_lock_it_until_the_password_is_given_again(here: Line, kim: User) -> None:
    _in(here)
    for _ in range(PIN_TRIES - 1):
        with pytest.raises(NotSignedIn):
            _pin(here, "1357")
    _pin(here)  # the right one begins the count anew
    for _ in range(PIN_TRIES):
        with pytest.raises(NotSignedIn):
            _pin(here, "1357")
    for _ in range(2):
        with pytest.raises(NotSignedIn, match="takes the password again"):
            _pin(here)
    assert _actions(here).count("session.pin_locked") == 1
    _in(here)
    assert _pin(here).user_id == kim.id


def test_of_many_wrong_pins_at_once_no_more_are_looked_at_than_in_a_row(
    here: Line, kim: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passwords, "_hasher", HASHER)  # whoever compares for long meets the others
    users.set_pin(here.engine, here.operator, "operator", PIN, key="slow", now=NOW)
    _in(here)

    def wrong(n: int) -> None:
        with pytest.raises(NotSignedIn):
            _pin(here, f"{1357 + 10 * n}")

    threads = [threading.Thread(target=wrong, args=(n,)) for n in range(2 * PIN_TRIES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with reading(here.engine) as conn:
        assert credentials.of(conn, kim.id).pin_failures == PIN_TRIES
    with pytest.raises(NotSignedIn):
        _pin(here)


def test_a_name_that_has_no_pin_here_waits_for_nobody_who_writes(here: Line, kim: User) -> None:
    with writing(here.engine) as conn:
        audit.take_turn(conn)
        for name in ("nobody", "engineer", "operator"):
            with pytest.raises(NotSignedIn, match=WRONG_PIN):
                sessions.by_pin(here.engine, name, PIN, terminal="t1", now=NOW)


def test_the_provider_ends_the_lock_of_a_pin_as_the_password_does(here: Line, kim: User) -> None:
    _in(here)
    for _ in range(PIN_TRIES):
        with pytest.raises(NotSignedIn):
            _pin(here, "1357")
    sessions.by_provider(here.engine, kim.id, terminal="t1", now=NOW)
    assert _pin(here).user_id == kim.id


def test_what_nobody_touches_any_more_ends_and_is_in_the_audit_trail(here: Line, kim: User) -> None:
    gone, there = _in(here), _in(here, now=NOW + IDLE)
    ended = _in(here)
    sessions.end(here.engine, ended.id, "signed out", NOW)
    with writing(here.engine) as conn:
        item = here.add_item(conn, 1)
        conn.execute(sa.insert(claim).values(item_id=item.id, user_id=kim.id, expires_at=NOW + 2 * IDLE))
    for _ in range(2):
        sessions.end_idle(here.engine, IDLE, NOW + IDLE)
    with reading(here.engine) as conn:
        assert [found.ended_at for one in (gone, there) if (found := stored.find(conn, one.id))] == [NOW + IDLE, None]
        assert [one.detail for one in audit.recent(conn, 2)] == [{"why": "idle"}, {"why": "signed out"}]
        assert conn.execute(sa.select(claim.c.user_id)).scalars().all() == [kim.id]  # they are elsewhere still
    sessions.end_idle(here.engine, IDLE, NOW + 2 * IDLE)
    with reading(here.engine) as conn:
        assert conn.execute(sa.select(claim.c.user_id)).scalars().all() == []


def test_a_change_of_role_shows_at_once_and_whoever_is_disabled_is_out(here: Line, kim: User) -> None:
    made, other = _in(here), _in(here)
    users.change_role(here.engine, here.admin, "operator", "viewer", key="r", now=NOW)
    found = _who(here, made)
    assert found is not None and found.role == "viewer"
    users.disable(here.engine, here.admin, "operator", key="d", now=NOW)
    assert _who(here, made) is _who(here, other) is None
    for way in (_in, _pin):
        with pytest.raises(NotSignedIn):
            way(here)
    with pytest.raises(NotSignedIn):
        sessions.by_provider(here.engine, kim.id, terminal="t1", now=NOW)


def test_another_password_signs_out_everywhere_and_takes_the_pin_with_it(here: Line, kim: User) -> None:
    made = _in(here)
    users.set_password(here.engine, here.operator, "operator", "another password", key="w2", now=NOW)
    assert _who(here, made) is None
    for way in (_in, _pin):
        with pytest.raises(NotSignedIn):
            way(here)
    users.set_pin(here.engine, here.operator, "operator", PIN, key="p2", now=NOW)
    with pytest.raises(NotSignedIn):  # nobody typed the new password here yet
        _pin(here, now=NOW + SECOND)
    assert _in(here, "another password").user_id == kim.id
    assert _pin(here, now=NOW + SECOND).user_id == kim.id


def test_one_sets_ones_own_and_admins_those_of_all(here: Line, kim: User) -> None:
    for act, secret in ((users.set_password, "another password"), (users.set_pin, "1470")):
        with pytest.raises(PermissionDenied, match="needs the role admin"):
            act(here.engine, here.engineer, "operator", secret, key=f"{secret} 1", now=NOW)
        act(here.engine, here.operator, "operator", secret, key=f"{secret} 2", now=NOW)
        act(here.engine, here.admin, "engineer", secret, key=f"{secret} 3", now=NOW)
    with pytest.raises(Invalid, match="10 to 200 characters"):
        users.set_password(here.engine, kim, "operator", "short", key="s", now=NOW)


@pytest.mark.parametrize("pin", ["", "123", "1234", "8765", "7777", "123456789", "12a4", "١٢٣٥"])
def test_an_easy_pin_is_none(pin: str) -> None:
    with pytest.raises(Invalid, match="a PIN has 4 to 8 digits"):
        check_pin(pin)


def test_there_are_accounts_from_the_first_password_on(here: Line) -> None:
    with reading(here.engine) as conn:
        assert not credentials.any(conn)
    users.set_pin(here.engine, here.admin, "viewer", PIN, key="p", now=NOW)
    with reading(here.engine) as conn:
        assert not credentials.any(conn)
    users.set_password(here.engine, here.admin, "viewer", WORDS, key="w", now=NOW)
    users.disable(here.engine, here.admin, "viewer", key="d", now=NOW)
    with reading(here.engine) as conn:
        assert credentials.any(conn)
