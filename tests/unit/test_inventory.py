"""`goodpart blobs` and `goodpart items`, on the database and the folder that the settings name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Engine

from agent.cli import blobs as command
from agent.cli import items as items_command
from agent.cli.common import Acting, CommandError, Common
from agent.settings import utc_now
from agent.store import inventory
from agent.store.blobs import keep_all
from agent.store.engine import reading, writing
from agent.store.local_blobs import LocalBlobs
from agent.store.sweep import UNTOUCHED
from agent.store.tables import blob, item
from tests.databases import NOW, Line, line

pytestmark = pytest.mark.usefixtures("each_database")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    with line(tmp_path) as made:
        monkeypatch.setattr(Common, "database", lambda _: made.engine)
        monkeypatch.setenv("GOODPART_BLOBS__DIRECTORY", str(tmp_path / "b"))
        yield made


def _keep(here: Line, folder: Path, *contents: bytes, named: bool = True) -> list[str]:
    made = keep_all(here.engine, LocalBlobs(folder / "b"), [(one, "image/png") for one in contents], NOW)
    if named:
        with writing(here.engine) as conn:
            for n, sha256 in enumerate(made):
                conn.execute(
                    sa.insert(item).values(
                        stream_id=here.stream_id, partition=0, offset=n, event_at=NOW, frame_id=f"f{n}",
                        station_id=here.station_id, product_id=here.product_id, kind="flagged", verdict="review",
                        state="open", created_at=NOW, frame_sha256=sha256,
                    )
                )  # fmt: skip
    return made


def test_named_blobs_that_cannot_be_read_are_found(
    here: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = LocalBlobs(tmp_path / "b")
    fine, missing, short, other, pending = _keep(here, tmp_path, b"fine", b"missing", b"short", b"other", b"pending")
    (unnamed,) = _keep(here, tmp_path, b"unnamed", named=False)
    command.check()
    assert "every blob is there" in capsys.readouterr().out
    for sha256 in (missing, unnamed):
        store.delete(sha256)
    _path(tmp_path, short).write_bytes(b"shor")
    _path(tmp_path, other).write_bytes(b"OTHER")
    with writing(here.engine) as conn:
        conn.execute(sa.update(blob).where(blob.c.sha256 == pending).values(state="pending"))
    with pytest.raises(CommandError, match=r"^3 of"):
        command.check(json=True)
    shallow = {missing: "is missing", short: "has 4 bytes instead of 5", pending: "its row is pending"}
    assert {one["sha256"]: one["problem"] for one in json.loads(capsys.readouterr().out)} == shallow
    found = {one.sha256: one.problem for one in inventory.check(here.engine, store, deep=True)}
    assert found == shallow | {short: "holds other bytes", other: "holds other bytes"}
    assert fine not in found


def test_what_is_swept_during_a_check_is_not_missing(here: Line, tmp_path: Path) -> None:
    (sha256,) = _keep(here, tmp_path, b"1")

    class Swept(LocalBlobs):
        def size(self, sha256: str) -> int | None:
            _release(here.engine)
            return None

    assert inventory.check(here.engine, Swept(tmp_path / "b"), deep=False) == []
    assert LocalBlobs(tmp_path / "b").size(sha256) == 1


def test_blobs_are_swept_by_hand(here: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named, *_ = _keep(here, tmp_path, b"named")
    old, new = _keep(here, tmp_path, b"old", b"new", named=False)
    with writing(here.engine) as conn:
        conn.execute(sa.update(blob).where(blob.c.sha256 == new).values(touched_at=utc_now()))
    assert utc_now() - NOW > UNTOUCHED + timedelta(minutes=1)
    command.sweep(json=True)
    assert json.loads(capsys.readouterr().out) == {"looked": 3, "deleted": 1, "bytes": 3}
    assert [LocalBlobs(tmp_path / "b").size(one) for one in (named, old, new)] == [5, None, 3]
    command.sweep()
    assert "deleted 0 of 2 blobs" in capsys.readouterr().out


def test_items_are_pinned_by_hand(here: Line, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _keep(here, tmp_path, b"1")
    with reading(here.engine) as conn:
        item_id = conn.execute(sa.select(item.c.id)).scalar_one()
    items_command.pin(item_id, acting=Acting(by="engineer"))
    assert here.item(item_id).pinned
    items_command.unpin(item_id, acting=Acting(by="engineer"))
    assert not here.item(item_id).pinned
    assert f"unpinned item {item_id}" in capsys.readouterr().out


def _release(engine: Engine) -> None:
    with writing(engine) as conn:
        conn.execute(sa.update(item).values(frame_sha256=None))


def _path(folder: Path, sha256: str) -> Path:
    return folder / "b" / sha256[:2] / sha256[2:4] / sha256
