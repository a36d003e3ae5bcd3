"""What is usual of a station's pictures, in the database."""

from __future__ import annotations

import pytest

from agent.service import stations
from agent.store import camera_history
from agent.store.camera_history import Usual
from agent.store.engine import reading, writing
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
    assert stations.relearn(here.engine, here.engineer, "press-1", key="2", now=NOW) == 2
    assert stations.relearn(here.engine, here.engineer, "press-1", key="2", now=NOW) == 2, "the key was used"
    assert stations.relearn(here.engine, here.engineer, "press-1", key="3", now=NOW) == 0
    with reading(here.engine) as conn:
        assert camera_history.of(conn, here.station_id) == {}
        assert camera_history.of(conn, other) == {"sharpness/1": Usual(9, 1.0, 1.0)}
