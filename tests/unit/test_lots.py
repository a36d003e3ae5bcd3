from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection

from agent.store.engine import reading, writing
from agent.store.lots import DAYS, REST, Lots
from agent.store.tables import rollup_quarter
from agent.store.trends import add_inspections
from tests.databases import NOW, line

BERLIN = ZoneInfo("Europe/Berlin")


def _sums(conn: Connection) -> dict[str, int]:
    return {row.lot: row.n_pass for row in conn.execute(rollup_quarter.select())}


@pytest.mark.usefixtures("each_database")
def test_lots_beyond_the_most_of_a_day_are_summed_as_one_also_by_the_next_agent(tmp_path: Path) -> None:
    with line(tmp_path) as here:
        for lots, names in ((Lots(2, UTC), ("a", "b", "c", "", "a")), (Lots(2, UTC), ("d", "b", "c"))):
            with writing(here.engine) as conn:
                rows = [here.inspection(n, "pass", lot=name or None) for n, name in enumerate(names)]
                add_inspections(conn, rows, lots)
        with reading(here.engine) as conn:
            assert _sums(conn) == {"a": 2, "b": 2, REST: 3, "": 1}


def test_a_new_plant_day_has_room_for_its_own_lots(tmp_path: Path) -> None:
    late = datetime(2026, 3, 1, 22, 50, tzinfo=UTC)  # ten to midnight in Berlin
    with line(tmp_path) as here, reading(here.engine) as conn:
        lots = Lots(1, BERLIN)
        assert [lots.summed(conn, name, late) for name in ("a", "b", "a")] == ["a", REST, "a"]
        assert lots.summed(conn, "b", late + timedelta(minutes=15)) == "b"
        assert lots.summed(conn, "a", late + timedelta(minutes=15)) == REST


def test_days_long_gone_are_forgotten(tmp_path: Path) -> None:
    with line(tmp_path) as here, reading(here.engine) as conn:
        lots = Lots(1, UTC)
        for day in range(3 * DAYS):
            assert lots.summed(conn, "a", NOW + timedelta(days=day)) == "a"
        assert len(lots._known) == DAYS
        # A frame older than all that is remembered is looked up anew.
        assert lots.summed(conn, "b", NOW) == "b"


def test_a_camera_at_the_end_of_time_stops_nothing(tmp_path: Path) -> None:
    with line(tmp_path) as here, reading(here.engine) as conn:
        late = datetime.max.replace(tzinfo=UTC)
        assert Lots(1, BERLIN).summed(conn, "a", late) == "a"
