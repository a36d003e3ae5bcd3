"""Which accepted normals are shown beside a part: the nearest, of other parts, of its product and feature space."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

from agent.settings import Settings
from agent.store import inspections, item_vectors, products, samples
from agent.store import normals as stored
from agent.store.engine import open_engine, reading, writing
from agent.store.item_vectors import Vector
from agent.store.normals import Normal, SampleVector
from agent.store.samples import NewSample
from agent.store.tables import metadata
from dashboard import blobs, context, normals
from dashboard.normals import Known
from tests.databases import NOW, Line, add_blob, sha
from tests.vectors import SPACE, spot, unit


def _normal(part: str, *looks: float) -> Normal:
    return Normal(part, NOW, sha(1), sha(2), unit(looks))


def test_the_nearest_come_first_and_a_part_comes_once_and_never_beside_itself() -> None:
    known = Known.of(
        [
            _normal("far", 0, 1),
            _normal("near", 1, 0.1),
            _normal("near", 1, 0.2),
            _normal("own", 1, 0),
            _normal("mid", 1, 1),
        ]
    )
    assert [one.part for one in known.nearest(unit((1, 0)), "own")] == ["near", "mid", "far"]
    assert known.nearest(unit((1, 0)), "own")[0] is known.normals[1]
    assert [one.part for one in known.nearest(unit((1, 0)), "", most=1)] == ["own"]
    assert Known.of([]).nearest(unit((1, 0)), "") == []


def test_pictures_have_words_and_no_text_is_markup() -> None:
    shown = normals.to_html([replace(_normal("<b>'x", 1, 0), seen_at=NOW)], UTC)
    assert "<b>'x" not in shown and "alt='accepted normal &lt;b&gt;&#x27;x'" in shown
    assert "2026-03-02 10:07" in shown and f"href='/blob/{sha(2)}'" in shown and f"src='/blob/{sha(1)}'" in shown


def _add(here: Line, offset: int, vector: Vector | None = None, **changes: Any) -> int:
    with writing(here.engine) as conn:
        made = here.add_item(conn, offset, **{"serial": f"S{offset}", **changes})
        item_vectors.add_all(conn, here.stream_id, 0, {offset: vector or spot(2, 2)})
    return made.id


def _accept(here: Line, offset: int, item_id: int, **changes: Any) -> int:
    new = NewSample(here.product_id, "train", "flagged", sha(offset), sha(offset), item_id=item_id)
    with writing(here.engine) as conn:
        return samples.add(conn, replace(new, **changes), NOW).id


def _known(here: Line, space: str = SPACE, most: int = 99) -> list[str]:
    with reading(here.engine) as conn:
        return [one.part for one in stored.of_product(conn, here.product_id, space, most)]


@pytest.mark.usefixtures("each_database")
def test_only_what_trains_is_an_accepted_normal(here: Line) -> None:
    with writing(here.engine) as conn:
        other = products.add(conn, "bracket", now=NOW).id
        add_blob(conn, 99)
    cases: list[dict[str, Any]] = [
        {}, {"state": "proposed"}, {"role": "calibration", "origin": "audit"}, {"role": "defect", "reason": "dent"},
        {"product_id": other}, {"state": "quarantined"}, {},
    ]  # fmt: skip
    for number, changes in enumerate(cases):
        _accept(here, number, _add(here, number), **changes)
    _accept(here, 7, _add(here, 7, replace(spot(2, 2), space="6" * 64)))
    revoked = _accept(here, 8, _add(here, 8))
    with writing(here.engine) as conn:
        samples.revoke(conn, revoked, NOW)
        samples.add(conn, NewSample(here.product_id, "train", "import", sha(99), sha(99), serial="imported"), NOW)
    assert _known(here) == ["S6", "S0"]
    assert _known(here, most=1) == ["S6"]
    assert _known(here, "6" * 64) == ["S7"]


@pytest.mark.usefixtures("each_database")
def test_what_was_imported_is_one_too_once_a_scorer_saw_it(here: Line) -> None:
    _accept(here, 0, _add(here, 0))
    with writing(here.engine) as conn:
        thumbnail = add_blob(conn, 90)
        ids = [
            samples.add(
                conn,
                NewSample(
                    here.product_id, "train", "import", add_blob(conn, n), sha(n), serial=s, thumbnail_sha256=thumbnail
                ),
                NOW,
            ).id
            for n, s in ((91, "I1"), (92, None))
        ]
    vector = SampleVector(SPACE, unit((1, 0)))
    for space in ("6" * 64, SPACE):
        with writing(here.engine) as conn:
            stored.add_all(conn, dict.fromkeys(ids, replace(vector, space=space)))
    assert _known(here) == [str(ids[1]), "I1", "S0"] and _known(here, "6" * 64) == []
    with reading(here.engine) as conn:
        assert stored.of_product(conn, here.product_id, SPACE, 9)[1] == Normal(
            "I1", NOW, thumbnail, sha(91), unit((1, 0))
        )
        assert stored.known(conn, [*ids, 1, 999], SPACE) == {*ids, 1} and stored.known(conn, ids, "6" * 64) == set()
    with writing(here.engine) as conn:
        samples.revoke(conn, ids[0], NOW)
    assert _known(here) == [str(ids[1]), "S0"]


@pytest.fixture
def page(here: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    monkeypatch.setattr(context, "engine", lambda: here.engine)
    monkeypatch.setattr(context, "database", lambda: here.engine)
    monkeypatch.setattr(context, "settings", Settings)
    yield here


def _told(item_id: int) -> tuple[int, Any]:
    answer = blobs._normals(item_id)
    body = bytes(answer.body)
    return answer.status_code, json.loads(body)["normals"] if answer.status_code == 200 else body


def test_an_audited_part_has_the_neighbours_that_a_flagged_one_has(page: Line) -> None:
    _accept(page, 1, _add(page, 1, spot(2, 2, (1, 0)), preview_sha256=None))
    flagged, audited = _add(page, 2, event_at=NOW), _add(page, 3, kind="audit", verdict="pass", severity=-1.0)
    assert (
        _told(flagged)
        == _told(audited)
        == (
            200,
            [{"part": "S1", "time": NOW.isoformat(), "small": f"/blob/{sha(1)}", "full": f"/blob/{sha(1)}"}],
        )
    )


def test_an_item_that_no_model_scored_has_none_and_one_that_is_not_there_is_told(page: Line) -> None:
    with writing(page.engine) as conn:
        item_id = page.add_item(conn, 5, kind="failed").id
    assert _told(item_id) == (200, [])
    assert _told(item_id + 1)[0] == _told(1 << 70)[0] == 404


def test_the_route_asks_nothing_of_a_page_s_session(page: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "engine", lambda: pytest.fail("there is no session in a thread of the server"))
    assert _told(_add(page, 1)) == (200, [])


def test_normals_are_read_once_for_all_and_anew_in_place_of_the_old(
    page: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    _accept(page, 1, _add(page, 1))
    reads: list[str] = []
    read = stored.of_product

    def noted(conn: Connection, product_id: int, space: str, most: int) -> list[Normal]:
        reads.append(space)
        return read(conn, product_id, space, most)

    monkeypatch.setattr(stored, "of_product", noted)
    monkeypatch.setattr(normals, "_read", {})

    def ask(now: datetime) -> normals.Known:
        return normals._known(page.engine, page.product_id, SPACE, now)

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(ask, [NOW] * 8))
    assert len(found) == len(reads) == 1
    assert ask(NOW + normals.KEPT) not in found and len(reads) == 2
    assert len(normals._read) == 1


def test_the_route_takes_numbers_only() -> None:
    app = Starlette(routes=blobs.routes())
    assert str(app.url_path_for("nearest_normals", item=7)) == "/normals/7"


def _part() -> None:
    from dashboard.views import part

    part.show()


def test_the_page_part_shows_them_beside_the_part(page: Line) -> None:
    _accept(page, 1, _add(page, 1))
    with writing(page.engine) as conn:
        item = page.add_item(conn, 2, serial="S2", event_at=NOW + timedelta(seconds=2))
        item_vectors.add_all(conn, page.stream_id, 0, {2: spot(2, 2)})
        inspections.add_all(conn, [page.inspection(2, "review", serial="S2", event_at=item.event_at)])
    shown = AppTest.from_function(_part, default_timeout=30)
    shown.query_params["serial"] = "S2"
    shown.run()
    assert not shown.exception, shown.exception
    assert "**Nearest accepted normals**" in [one.value for one in shown.markdown]


def test_the_search_goes_by_the_product_s_samples_however_many_items_there_are(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.db'}")
    metadata.create_all(engine)
    told: list[tuple[str, Any]] = []
    with reading(engine) as conn:
        sa.event.listen(conn, "before_cursor_execute", lambda c, u, text, values, *_: told.append((text, values)))
        stored.of_product(conn, 1, SPACE, 10)
        plans = [conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all() for text, values in list(told)]
    assert len(plans) == 2
    assert not [row[3] for plan in plans for row in plan if row[3].startswith("SCAN")], plans
    engine.dispose()
