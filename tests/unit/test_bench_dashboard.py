"""Which views of the Trends page its bench times."""

from __future__ import annotations

from bench.dashboard import views
from dashboard.findings import _torn


def test_each_scope_is_timed_and_plants_into_whose_days_and_shifts_hours_cannot_be_cut() -> None:
    found = list(views("90 days", {1: "flange", 2: "bracket"}, {7: "press-1"}))
    scopes = {one.scope for one in found}
    assert {(one.product_id, one.station_id, bool(one.lot)) for one in scopes} == {
        (None, None, False), (1, None, False), (None, 7, False), (None, None, True),
    }  # fmt: skip
    for by, narrow in (("station", {"06:00 Asia/Kolkata"}), ("shift", {"06:00 Asia/Kolkata", "06:30 Europe/Berlin"})):
        read = {(f"{one.shifts[0]:%H:%M} {one.zone.key}", bool(_torn(one))) for one in found if one.by == by}
        assert len(read) == 3 and {plant for plant, torn in read if torn} == narrow
    assert len(found) == len(set(map(repr, found)))
