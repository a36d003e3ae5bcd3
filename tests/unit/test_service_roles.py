"""Every act of a person is refused to whoever's role is too low, whatever the pages show them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent import service
from agent.service import PermissionDenied
from agent.service import users as people
from agent.service.bulk import Bulk
from agent.store.engine import reading, writing
from agent.store.samples import NewSample
from agent.store.tables import metadata
from agent.store.users import ROLES, User
from tests.databases import NOW, Line, add_blob, sha

# Name, lowest role, and arguments beside engine, actor, key and now: with these the lowest role gets past its check.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "alerts.acknowledge": ("operator", {"alert_id": 1}),
    "bulk.decide": ("operator", {"item_ids": [1], "decision": "normal"}),
    "bulk.undo": ("operator", {"made": {1: 1}}),
    "claims.take": ("operator", {}),
    "dead_letters.ask_preview": ("engineer", {"letter_id": 1}),
    "dead_letters.ask_replay": ("engineer", {"ids": [1]}),
    "dead_letters.cancel": ("engineer", {"command_id": 1}),
    "dead_letters.discard": ("engineer", {"ids": [1], "reason": "r"}),
    "dead_letters.require": ("engineer", {}),
    "dead_letters.replayed": ("engineer", {"letter_id": 1, "frame_id": "f", "station": "s", "product": "p"}),
    "epochs.open": ("engineer", {"product": "flange", "cause": "camera", "reason": "r"}),
    "items.pin": ("engineer", {"item_id": 1}),
    "items.unpin": ("engineer", {"item_id": 1}),
    "models.promote": ("engineer", {"version_id": 1, "reason": "r", "config_hash": "0" * 64}),
    "models.reject": ("engineer", {"version_id": 1, "reason": "r"}),
    "models.rollback": ("engineer", {"product_id": 1, "reason": "r"}),
    "models.ask_recertify": ("engineer", {"version_id": 1, "reason": "r"}),
    "products.add": ("engineer", {"name": "bracket"}),
    "products.change": ("engineer", {"name": "flange", "review_rate": 0.1}),
    "products.retire": ("engineer", {"name": "flange"}),
    "retrain.request": ("engineer", {"product_id": 1}),
    "retrain.cancel": ("engineer", {"run_id": 1, "reason": "r"}),
    "reviews.decide": ("operator", {"item_id": 1, "decision": "normal"}),
    "reviews.undo": ("operator", {"item_id": 1}),
    "samples.add_all": (
        "engineer", {"product_id": 1, "new_samples": [NewSample(1, "train", "import", sha(1), sha(1))]}
    ),
    "samples.accept": ("engineer", {"sample_id": 1}),
    "samples.refuse": ("engineer", {"sample_id": 1, "reason": "r"}),
    "samples.revoke": ("engineer", {"sample_id": 1, "reason": "r"}),
    "stations.add": ("engineer", {"name": "press-2"}),
    "stations.change": ("engineer", {"name": "press-1", "audit_rate": 0.1}),
    "stations.retire": ("engineer", {"name": "press-1"}),
    "stations.relearn": ("engineer", {"name": "press-1"}),
    "teach.start": ("engineer", {"name": "disc", "station": "press-1", "parts": 3}),
    "teach.look": ("engineer", {"product_id": 1}),
    "teach.train": ("engineer", {"product_id": 1}),
    "teach.cancel": ("engineer", {"product_id": 1}),
    "users.add": ("admin", {"name": "kim", "role": "viewer"}),
    "users.change_role": ("admin", {"name": "viewer", "role": "operator"}),
    "users.disable": ("admin", {"name": "viewer"}),
    "users.set_password": ("admin", {"name": "admin", "password": "a long password"}),
    "users.set_pin": ("admin", {"name": "admin", "pin": "2580"}),
    "watches.shadow": ("engineer", {"version_id": 1, "share": 0.1}),
    "watches.end": ("engineer", {"watch_id": 1, "reason": "r"}),
    "withdrawals.ask_confirm": ("engineer", {"withdrawal_id": 1}),
    "withdrawals.ask": ("operator", {"sample_id": 1, "reason": "r"}),
    "withdrawals.confirm": ("engineer", {"withdrawal_id": 1, "readable": lambda _: True}),
    "withdrawals.refuse": ("engineer", {"withdrawal_id": 1}),
}  # fmt: skip
# `perform` is what the others check roles with; whoever leaves gives back what they held.
WITHOUT_ROLE = {"acts.perform", "claims.give_back"}


@cache
def _acts() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(service.__path__):
        loaded = importlib.import_module(f"{service.__name__}.{module.name}")
        for name, one in inspect.getmembers(loaded, inspect.isfunction):
            ours = one.__module__ == loaded.__name__ and not name.startswith("_")
            if ours and {"engine", "actor"} <= set(inspect.signature(one).parameters):
                found[f"{module.name}.{name}"] = one
    return found


def test_every_act_of_the_service_has_its_lowest_role_here() -> None:
    assert set(_acts()) == set(CALLS) | WITHOUT_ROLE


def _state(engine: Engine) -> dict[str, list[Any]]:
    with reading(engine) as conn:
        return {name: sorted(map(repr, conn.execute(sa.select(table)))) for name, table in metadata.tables.items()}


def _call(here: Line, name: str, actor: User) -> None:
    """Does it; raises PermissionDenied where each of several was refused for that."""
    act = _acts()[name]
    wanted = inspect.signature(act).parameters
    given = {**CALLS[name][1], "key": f"k-{actor.id}", "now": NOW}
    result = act(here.engine, actor, **{key: value for key, value in given.items() if key in wanted})
    if isinstance(result, Bulk) and result.refused:
        raise PermissionDenied(*{words for _, words in result.refused})


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("quick_hashes")
def test_whoever_has_a_lower_role_is_refused_and_nothing_changes(here: Line, name: str) -> None:
    with writing(here.engine) as conn:
        add_blob(conn, 1)
    least = CALLS[name][0]
    everybody = [here.viewer, here.operator, here.engineer, here.admin]
    for actor in everybody[: ROLES.index(least)]:
        before = _state(here.engine)
        with pytest.raises(PermissionDenied, match=f"needs the role {least} or higher; {actor.name} is {actor.role}"):
            _call(here, name, actor)
        # Their page may have been drawn when their role was a higher one.
        with pytest.raises(PermissionDenied, match=f"{actor.name} is {actor.role}"):
            _call(here, name, User(actor.id, actor.name, "admin"))
        assert _state(here.engine) == before
    allowed = everybody[ROLES.index(least)]
    try:
        _call(here, name, allowed)
    except Exception as error:  # there is no item 1, say: it got past the check of its role
        assert not isinstance(error, PermissionDenied) or "needs the role" not in str(error), error


def test_who_is_disabled_may_nothing_at_once(here: Line) -> None:
    people.add(here.engine, here.admin, "root", "admin", key="root", now=NOW)
    people.disable(here.engine, here.admin, "admin", key="disable", now=NOW)
    before = _state(here.engine)
    for name in CALLS:
        with pytest.raises(PermissionDenied, match="admin is disabled"):
            _call(here, name, here.admin)
    assert _state(here.engine) == before
