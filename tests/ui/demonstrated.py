"""The demo as one finds it after some minutes: a model trained, parts inspected, and those judged that came first."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from urllib.error import URLError
from urllib.request import urlopen

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError

from agent.demo.child import Child
from agent.demo.server import free_port
from agent.service import reviews
from agent.service.ranks import Refused
from agent.settings import Settings, utc_now
from agent.store import items, users
from agent.store.engine import open_engine, reading
from agent.store.errors import Conflict, StoreError

USER = "ada"  # the demo's admin
OPERATOR = "olga"
ENOUGH = 45  # parts for people, before some of them are judged
LEFT = 15  # of them to wait
EVERY_S = 2.0  # between two looks
REASONS = Settings().review.reasons


@contextmanager
def demonstrated(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of the demo's dashboard, and the serial of a judged part; it trains first, which takes minutes."""
    port, kept = free_port(), folder / "demo"
    environ = {"GOODPART_DASHBOARD__PORT": str(port)}
    kept.mkdir()
    url, database, pause = f"http://127.0.0.1:{port}", kept / "goodpart.db", Event()
    with Child(["demo", "--keep", str(kept)], environ=environ, log=folder / "demo.log") as demo:
        # Opened once it is there: whoever looks for it before makes it.
        while not database.exists() or not (_waiting(database) >= ENOUGH and _answers(url)):
            demo.check()
            pause.wait(EVERY_S)
        engine = open_engine(f"sqlite:///{database}")
        yield url, _judged(engine, _truths(kept))
        engine.dispose()


def _waiting(database: Path) -> int:
    engine = open_engine(f"sqlite:///{database}")
    try:
        with suppress(StoreError, DatabaseError), reading(engine) as conn:
            return items.waiting(conn, None)
        return 0  # there are no tables yet
    finally:
        engine.dispose()


def _answers(url: str) -> bool:
    with suppress(URLError, OSError), urlopen(f"{url}/_stcore/health", timeout=1) as answer:
        return bool(answer.status == 200)
    return False


def _truths(kept: Path) -> Mapping[str, str]:
    """What each published picture is, by its hash: the folder that it lies in."""
    found = (kept / "flange" / "test").glob("*/*.jpg")
    return {hashlib.sha256(one.read_bytes()).hexdigest(): one.parent.name for one in found}


def _judged(engine: Engine, truths: Mapping[str, str]) -> str:
    """Judges all but the newest, each as what it is; the serial of the last defect among them."""
    with reading(engine) as conn:
        found = items.queue(conn, limit=ENOUGH - LEFT)
        operator = users.find(conn, OPERATOR)
    assert operator is not None
    serial = found[0].serial
    for one in found:
        truth = truths.get(one.frame_sha256 or "", "good")
        decision, reason = ("normal", None) if truth == "good" else ("defect", truth if truth in REASONS else "other")
        with suppress(Refused, Conflict):  # the demo's own dashboard may have it open
            reviews.decide(engine, operator, one.id, decision, reason, key=f"walk-{one.id}", now=utc_now())
        serial = one.serial if reason else serial
    assert serial is not None
    return serial
