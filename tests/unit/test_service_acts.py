"""People, products, stations, samples and models: roles, keys and audit events."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from agent.service import Invalid, PermissionDenied, models, products, retrain, samples, stations, users
from agent.service.ranks import may, require
from agent.service.samples import Added
from agent.store import audit, certificates, commands, offsets, registry, runs
from agent.store import products as known_products
from agent.store import samples as stored
from agent.store import users as known
from agent.store.engine import Conflict, NotFound, reading, writing
from agent.store.samples import NewSample
from agent.store.tables import changeover
from tests.databases import NOW, Line, add_blob, database

pytestmark = pytest.mark.usefixtures("each_database")


def _actions(here: Line) -> list[tuple[str, str]]:
    with reading(here.engine) as conn:
        assert audit.verify(conn) is None
        return [(event.action, event.subject) for event in audit.recent(conn)]


def test_each_role_may_what_the_lower_ones_may(here: Line) -> None:
    assert [may(here.engineer, role) for role in known.ROLES] == [True, True, True, False]
    with pytest.raises(PermissionDenied, match="retraining needs the role engineer or higher; viewer is viewer"):
        require(here.viewer, "engineer", "retraining")
    require(here.admin, "admin")


def test_the_first_user_is_an_admin_and_needs_nobody(tmp_path: Path) -> None:
    with database(tmp_path) as engine:
        with pytest.raises(Invalid, match="first user must be an admin"):
            users.add(engine, None, "kim", "operator", key="1", now=NOW)
        root = users.add(engine, None, "root", "admin", key="1", now=NOW)
        with pytest.raises(PermissionDenied, match="act as one of root"):
            users.add(engine, None, "kim", "admin", key="2", now=NOW)
        kim = users.add(engine, root, " kim ", "operator", key="3", now=NOW)
        assert (kim.name, users.add(engine, root, "kim", "operator", key="3", now=NOW)) == ("kim", kim)
        with reading(engine) as conn:
            assert [event.user_id for event in audit.recent(conn)] == [root.id, root.id]


def test_only_admins_change_people_and_one_admin_stays(here: Line) -> None:
    with pytest.raises(PermissionDenied):
        users.add(here.engine, here.engineer, "kim", "viewer", key="1", now=NOW)
    with pytest.raises(Invalid, match="not a role"):
        users.add(here.engine, here.admin, "kim", "boss", key="1", now=NOW)
    with pytest.raises(Conflict, match="already a user"):
        users.add(here.engine, here.admin, "viewer", "viewer", key="1", now=NOW)
    assert users.change_role(here.engine, here.admin, "viewer", "operator", key="2", now=NOW).role == "operator"
    users.disable(here.engine, here.admin, "operator", key="3", now=NOW)
    with pytest.raises(Conflict, match="no admin"):
        users.disable(here.engine, here.admin, "admin", key="4", now=NOW)
    with pytest.raises(Conflict, match="no admin"):
        users.change_role(here.engine, here.admin, "admin", "viewer", key="5", now=NOW)
    with reading(here.engine) as conn:
        assert [user.name for user in known.all(conn)] == ["admin", "engineer", "viewer"]
    assert _actions(here) == [("user.disable", "user:3"), ("user.change_role", "user:4")]


def test_products_and_stations_are_changed_by_name(here: Line) -> None:
    made = products.add(here.engine, here.engineer, "bracket", review_rate=0.02, key="1", now=NOW)
    assert (
        products.change(here.engine, here.engineer, "bracket", teacher="resnet18", key="2", now=NOW).review_rate == 0.02
    )
    station = stations.add(here.engine, here.engineer, "press-2", product="bracket", key="3", now=NOW)
    assert station.product_id == made.id
    changed = stations.change(here.engine, here.engineer, "press-2", product="flange", audit_rate=0.0, key="4", now=NOW)
    station = changed.station
    assert (station.product_id, station.audit_rate) == (here.product_id, 0.0)
    station = stations.change(here.engine, here.engineer, "press-2", silent_after_s=90, key="4b", now=NOW).station
    assert (station.audit_rate, station.silent_after_s) == (0.0, 90.0)
    with pytest.raises(Invalid, match="0 \\(never\\) or more"):
        stations.change(here.engine, here.engineer, "press-2", silent_after_s=-1, key="4c", now=NOW)
    with pytest.raises(Invalid, match="no time after which"):
        stations.add(here.engine, here.engineer, "press-3", silent_after_s=-1, key="4d", now=NOW)
    assert stations.retire(here.engine, here.engineer, "press-2", key="5", now=NOW).retired_at == NOW
    assert products.retire(here.engine, here.engineer, "bracket", key="6", now=NOW).retired_at == NOW
    assert [action for action, _ in _actions(here)] == [
        "product.retire", "station.retire", "station.change", "station.change", "station.add", "product.change",
        "product.add",
    ]  # fmt: skip
    with pytest.raises(Conflict, match="retired already"):
        products.retire(here.engine, here.engineer, "bracket", key="7", now=NOW)
    with pytest.raises(Conflict, match="retired already"):
        stations.retire(here.engine, here.engineer, "press-2", key="8", now=NOW)


MASK = b64encode(b"\x89PNG\r\n\x1a\n and more").decode()


def test_a_products_own_input_is_changed_by_parts_and_can_be_given_up(here: Line) -> None:
    def change(key: str, **given: Any) -> Mapping[str, Any] | None:
        return products.change(here.engine, here.engineer, "bracket", key=key, now=NOW, **given).input

    first = {"height": 256, "width": 512, "region": (0.1, 0, 0.9, 1), "ignore": MASK}
    made = products.add(here.engine, here.engineer, "bracket", input=first, key="1", now=NOW)
    assert made.input == {**first, "region": [0.1, 0.0, 0.9, 1.0]}
    assert change("2", input={"fit": "letterbox", "ignore": ""}) == {**made.input, "fit": "letterbox", "ignore": ""}
    assert change("3", review_rate=0.1) == change("4", input={})  # which change nothing of it
    assert change("5", input={"rows": 2}, reset_input=True) == {"rows": 2}
    assert change("6", reset_input=True) is None
    with reading(here.engine) as conn:
        told = [event.detail for event in audit.recent(conn)]
        assert audit.verify(conn) is None
    assert MASK not in str(told)
    assert str(told[-1]["input"]["ignore"]).startswith("sha256:")
    assert told[-2]["to"]["input"] == {**made.input, "fit": "letterbox", "ignore": ""}
    assert told[0] == {"from": {"input": {"rows": 2}}, "to": {"input": None}}


@pytest.mark.parametrize(
    ("input", "words"),
    [
        ({"height": 100}, "height: .*multiple of 32"),
        ({"fit": "crop"}, "fit: .*letterbox"),
        ({"region": (0, 0, 0, 1)}, "region: .*0.1,0,0.9,1"),
        ({"rows": 17}, "rows: .*16"),
        ({"overlap": 0.6}, "overlap: .*0.5"),
        ({"ignore": "picture.png"}, "ignore: .*PNG in base64"),
        ({"ignore": b64encode(b"text").decode()}, "ignore: .*PNG in base64"),
        ({"size": 64}, "size: .*not permitted"),
    ],
)
def test_an_input_that_no_model_could_have(here: Line, input: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        products.change(here.engine, here.engineer, "flange", input=input, key="1", now=NOW)
    with pytest.raises(Invalid, match=words):
        products.add(here.engine, here.engineer, "x", input=input, key="2", now=NOW)
    assert _actions(here) == []


@pytest.mark.parametrize(
    "act",
    [
        lambda here, who: products.add(here.engine, who, "x", key="k", now=NOW),
        lambda here, who: products.change(here.engine, who, "flange", review_rate=0.1, key="k", now=NOW),
        lambda here, who: products.retire(here.engine, who, "flange", key="k", now=NOW),
        lambda here, who: stations.add(here.engine, who, "x", key="k", now=NOW),
        lambda here, who: stations.change(here.engine, who, "press-1", audit_rate=0.1, key="k", now=NOW),
        lambda here, who: stations.retire(here.engine, who, "press-1", key="k", now=NOW),
        lambda here, who: stations.relearn(here.engine, who, "press-1", key="k", now=NOW),
        lambda here, who: samples.add_all(here.engine, who, here.product_id, [], key="k", now=NOW),
        lambda here, who: retrain.request(here.engine, who, here.product_id, cold=True, key="k", now=NOW),
    ],
)
def test_engineers_only(here: Line, act: Callable[[Line, known.User], object]) -> None:
    for who in (here.viewer, here.operator):
        with pytest.raises(PermissionDenied, match="needs the role engineer"):
            act(here, who)
    assert _actions(here) == []
    act(here, here.engineer)
    assert len(_actions(here)) == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\nb"])
def test_names_that_no_header_could_carry(here: Line, name: str) -> None:
    with pytest.raises(Invalid, match="200 printable"):
        products.add(here.engine, here.engineer, name, key="1", now=NOW)
    with pytest.raises(Invalid, match="200 printable"):
        stations.add(here.engine, here.engineer, name, key="1", now=NOW)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, float("nan")])
def test_rates_out_of_range(here: Line, rate: float) -> None:
    with pytest.raises(Invalid, match="review rate"):
        products.change(here.engine, here.engineer, "flange", review_rate=rate, key="1", now=NOW)
    with pytest.raises(Invalid, match="audit rate"):
        stations.add(here.engine, here.engineer, "x", audit_rate=rate + 1.2, key="2", now=NOW)


def test_what_a_station_runs_must_be_there(here: Line) -> None:
    with pytest.raises(NotFound, match="no product 'x'"):
        stations.change(here.engine, here.engineer, "press-1", product="x", key="1", now=NOW)
    with pytest.raises(NotFound, match="no station 'x'"):
        stations.change(here.engine, here.engineer, "x", product="flange", key="2", now=NOW)
    with writing(here.engine) as conn:
        gone = known_products.add(conn, "gone", now=NOW)
        known_products.retire(conn, gone.id, NOW)
    for act in (stations.change, stations.add):
        with pytest.raises(Conflict, match="gone is retired"):
            act(here.engine, here.engineer, "press-1", product="gone", key="3", now=NOW)
    stations.retire(here.engine, here.engineer, "press-1", key="4", now=NOW)
    with pytest.raises(Conflict, match="press-1 is retired"):
        stations.change(here.engine, here.engineer, "press-1", product="flange", key="5", now=NOW)


def test_a_changeover_says_where_it_begins_once_and_is_on_record(here: Line) -> None:
    products.add(here.engine, here.engineer, "bracket", key="1", now=NOW)
    with writing(here.engine) as conn:
        for partition in (1, 0):
            offsets.claim(conn, here.stream_id, partition, holder="agent", start=7 + partition, now=NOW)
    changed = [
        stations.change(here.engine, here.engineer, "press-1", product="bracket", key="2", now=NOW) for _ in range(2)
    ]
    starts = [(one.topic, one.partition, one.next_offset) for one in changed[0].starts]
    assert starts == [("goodpart.frames", 0, 7), ("goodpart.frames", 1, 8)]
    assert changed[0] == changed[1]
    assert stations.change(here.engine, here.engineer, "press-1", product="bracket", key="3", now=NOW).starts == []
    with reading(here.engine) as conn:
        assert len(conn.execute(sa.select(changeover)).all()) == 2
        assert {one.epoch for one in offsets.partitions(conn)} == {2}
        told = [event.detail["starts"] for event in audit.recent(conn) if event.action == "station.change"]
    assert [len(one) for one in told] == [0, 2]
    assert told[1][1]["next_offset"] == 8


def test_samples_are_added_all_or_none(here: Line) -> None:
    with writing(here.engine) as conn:
        rows = [
            NewSample(here.product_id, "train", "import", blob, blob) for blob in (add_blob(conn, n) for n in range(3))
        ]
    assert samples.add_all(here.engine, here.engineer, here.product_id, rows[:2], key="1", now=NOW) == Added(2, 0)
    assert samples.add_all(here.engine, here.engineer, here.product_id, rows[:2], key="1", now=NOW) == Added(2, 0)
    assert samples.add_all(here.engine, here.engineer, here.product_id, rows, key="2", now=NOW) == Added(1, 2)
    foreign = NewSample(99, "train", "import", rows[0].blob_sha256, "f" * 64)
    with pytest.raises(Invalid, match="another product"):
        samples.add_all(here.engine, here.engineer, here.product_id, [foreign], key="3", now=NOW)
    with reading(here.engine) as conn:
        sample = stored.all(conn, here.product_id)[0]
    samples.revoke(here.engine, here.engineer, sample.id, reason="a thumb", key="4", now=NOW)
    with pytest.raises(Conflict, match="revoked already"):
        samples.revoke(here.engine, here.engineer, sample.id, key="5", now=NOW)


def test_people_promote_with_the_newest_certificate_and_roll_back(here: Line) -> None:
    with writing(here.engine) as conn:
        made = [
            registry.add_version(
                conn, product_id=here.product_id, artifact_sha256=add_blob(conn, n), teacher="t", manifest={}, now=NOW
            )
            for n in range(2)
        ]
        record = {"look": 1, "n": 82, "calibration_sha256": "c" * 64}
        newest = [certificates.add(conn, version_id=made[0].id, record=record, now=NOW) for _ in range(2)][-1]
    first = models.promote(here.engine, here.engineer, made[0].id, "looks good", "a" * 64, key="1", now=NOW)
    assert (first.certificate_id, first.by) == (newest, here.engineer.id)
    assert models.promote(here.engine, here.engineer, made[0].id, "looks good", "a" * 64, key="1", now=NOW) == first
    second = models.promote(here.engine, here.engineer, made[1].id, "better", "a" * 64, key="2", now=NOW)
    assert second.certificate_id is None
    back = models.rollback(here.engine, here.engineer, here.product_id, "false alarms", key="3", now=NOW)
    assert (back.model_version_id, back.certificate_id) == (made[0].id, newest)
    assert [action for action, _ in _actions(here)] == ["model.rollback", "model.promote", "model.promote"]
    with pytest.raises(Invalid, match="say why"):
        models.rollback(here.engine, here.engineer, here.product_id, " ", key="4", now=NOW)
    with pytest.raises(PermissionDenied):
        models.rollback(here.engine, here.operator, here.product_id, "r", key="5", now=NOW)


def test_what_decides_is_changed_only_where_it_is_what_was_shown(here: Line) -> None:
    with writing(here.engine) as conn:
        _, shown, live = [here.deploy(conn, 900 + n) for n in range(3)]
        version = registry.live(conn, here.product_id)
    assert version is not None
    asked = (here.engine, here.engineer)
    with pytest.raises(Conflict, match="v3 is live by now: look again"):
        models.rollback(*asked, here.product_id, "r", key="1", now=NOW, expected=shown)
    with pytest.raises(Conflict, match="v3 is live by now: look again"):
        models.promote(*asked, version.model_version_id, "r", "0" * 64, key="2", now=NOW, expected=0)
    back = models.rollback(*asked, here.product_id, "r", key="3", now=NOW, expected=live)
    assert back.number == 2
    again = models.promote(*asked, back.model_version_id, "r", "0" * 64, key="4", now=NOW, expected=back.id)
    assert again.number == 2


def test_a_retraining_is_a_command_and_can_be_cancelled(here: Line) -> None:
    command_id = retrain.request(here.engine, here.engineer, here.product_id, key="1", now=NOW)
    assert retrain.request(here.engine, here.engineer, here.product_id, key="1", now=NOW) == command_id
    with writing(here.engine) as conn:
        taken = commands.next(conn, [retrain.KIND])
        assert taken is not None
        args = {"product_id": here.product_id, "cold": False, "trigger": "person"}
        assert (taken.args, taken.by) == (args, here.engineer.id)
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
    retrain.cancel(here.engine, here.engineer, run.id, reason="not now", key="2", now=NOW)
    with reading(here.engine) as conn:
        assert runs.get(conn, run.id).state == "cancelled"
    with pytest.raises(Conflict, match="ended already"):
        retrain.cancel(here.engine, here.engineer, run.id, reason="not now", key="3", now=NOW)
    products.retire(here.engine, here.engineer, "flange", key="4", now=NOW)
    with pytest.raises(Conflict, match="retired"):
        retrain.request(here.engine, here.engineer, here.product_id, key="5", now=NOW)
