"""What is usual of a station's pictures, in the database."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from agent.phrases import Phrase
from agent.service import stations
from agent.service.stations import Relearnt
from agent.store import camera_history, epochs, products
from agent.store.camera_history import Usual
from agent.store.engine import reading, writing
from agent.store.loop import drift
from tests.databases import NOW, Line

pytestmark = pytest.mark.usefixtures("each_database")


def test_what_was_written_last_is_read_and_a_person_can_make_it_forgotten(here: Line) -> None:
    other = stations.add(here.engine, here.engineer, "press-2", key="1", now=NOW).id
    sharp, bright = (here.station_id, "sharpness/1"), (here.station_id, "saturation/1")
    with writing(here.engine) as conn:
        camera_history.save(conn, {sharp: Usual(1, 2.0, 0.0), (other, "sharpness/1"): Usual(9, 1.0, 1.0)}, NOW)
        camera_history.save(conn, {sharp: Usual(2, 2.5, 0.25), bright: Usual(2, 0.1, 0.0)}, NOW)
        camera_history.save(conn, {}, NOW)
    with reading(here.engine) as conn:
        wanted = {"sharpness/1": Usual(2, 2.5, 0.25), "saturation/1": Usual(2, 0.1, 0.0)}
        assert camera_history.of(conn, here.station_id) == wanted
        assert camera_history.keys(conn, {here.station_id}) == {sharp, bright}
    assert stations.relearn(here.engine, here.engineer, "press-1", key="2", now=NOW) == Relearnt(2, {})
    assert stations.relearn(here.engine, here.engineer, "press-1", key="2", now=NOW) == Relearnt(2, {}), (
        "the key is used"
    )
    assert stations.relearn(here.engine, here.engineer, "press-1", key="3", now=NOW) == Relearnt(0, {})
    with reading(here.engine) as conn:
        assert camera_history.of(conn, here.station_id) == {}
        assert camera_history.of(conn, other) == {"sharpness/1": Usual(9, 1.0, 1.0)}


def test_another_camera_opens_an_epoch_for_each_product_that_it_sees(here: Line) -> None:
    with writing(here.engine) as conn:
        often, never = (products.add(conn, name, now=NOW).id for name in ("bracket", "disc"))
        first = {one: epochs.open(conn, one, "import", "images", now=NOW).id for one in (here.product_id, often, never)}
        conn.execute(sa.insert(drift).values(
            product_id=often, station_id=here.station_id, epoch_id=first[often], deployment_id=here.deploy(conn, 9),
            stream=1, n=0, log_wealth=0.0, state={}, began_at=NOW, read_until=NOW, stream_id=here.stream_id,
            partition=0, offset=0, updated_at=NOW,
        ))  # fmt: skip
    same = stations.relearn(here.engine, here.engineer, "press-1", opens_epoch=False, key="1", now=NOW)
    made = stations.relearn(here.engine, here.engineer, "press-1", key="2", now=NOW)
    assert (same, set(made.epochs), made.forgotten) == (Relearnt(0, {}), {"flange", "bracket"}, 0)
    words = Phrase("the camera, lens or lamp of {station} was changed", station="press-1")
    with reading(here.engine) as conn:
        for name, product_id in (("flange", here.product_id), ("bracket", often)):
            found = epochs.current(conn, product_id)
            assert found and found.id == made.epochs[name]
            assert (found.cause, found.cuts, found.told, found.by) == ("camera", True, words, here.engineer.id)
        assert [one.id for one in epochs.of_product(conn, never)] == [first[never]]
