"""What the Trends page works out: rates with their n, groups, causes, signals in words."""

from __future__ import annotations

import ast
from datetime import UTC, datetime, time, timedelta
from inspect import isfunction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from agent.phrases import Phrase
from agent.settings import Settings, utc_now
from agent.store import trends as store
from agent.store.buckets import Bucket, cutter
from agent.store.closings import Judged
from agent.store.engine import writing
from agent.store.marks import Mark
from agent.store.score_bins import Histogram
from agent.store.trends import FlagPoint, Totals
from dashboard import charts, context, trending
from dashboard.coverage import Cell
from dashboard.sheets import FORMULA
from dashboard.tables import table
from dashboard.trending import MEASURES, Counts, by_shift, charted, grouped, openable, pareto, rate, series, signals
from tests.databases import Line
from tests.pages import opened

DAY = datetime(2026, 3, 2, tzinfo=UTC)


def _point(day: int, flagged: int, of: int = 1000) -> FlagPoint:
    return FlagPoint(DAY + timedelta(days=day), of - flagged, flagged, 0, 3)


def _series(points: list[FlagPoint], judged: dict[int, Judged]) -> dict[datetime, Counts]:
    by_day = {DAY + timedelta(days=day, hours=3): one for day, one in judged.items()}
    return series(points, by_day, cutter("day", UTC))


def test_a_false_call_is_counted_of_judged_flagged_parts_and_a_defect_of_inspected_frames() -> None:
    (counts,) = _series([_point(0, 10)], {0: Judged(8, 6, 3)}).values()
    assert [measure.of(counts) for measure in MEASURES.values()] == [(10, 1000), (6, 8), (3, 1000)]


def test_a_part_that_was_never_inspected_is_no_cause_among_inspected_frames() -> None:
    assert pareto({("failed", "defect", "dent"): 1, ("teach", "defect", "dent"): 2}) == []


@pytest.mark.parametrize(("double", "told"), [(0.0, True), (0.1, False)])
def test_where_nobody_judges_twice_the_page_says_which_setting_changes_that(
    here: Line, monkeypatch: pytest.MonkeyPatch, double: float, told: bool
) -> None:
    for name in ("engine", "database"):
        monkeypatch.setattr(context, name, lambda: here.engine)
    monkeypatch.setattr(context, "settings", lambda: Settings.model_validate({"review": {"double": double}}))
    with writing(here.engine) as conn:
        store.add_inspections(conn, [here.inspection(0, event_at=utc_now() - timedelta(hours=1))])
    said = " ".join(one.value for one in opened("trends", here.viewer, window="24 hours").caption)
    assert ("No part is judged by two people" in said and "`[review] double`" in said) is told


def _ticks(drawn: Any) -> list[tuple[int, ...]] | None:
    values = drawn.to_dict()["encoding"]["x"]["axis"].get("values")
    return values and [(one["date"], one["hours"], one["minutes"]) for one in values]


@pytest.mark.parametrize("bucket", ["minute", "quarter", "hour", "day"])
def test_few_buckets_have_a_tick_each_and_no_two_ticks_one_label(bucket: Bucket) -> None:
    """Vega would divide the minutes of three buckets into quarters of a minute, and label each as its minute."""
    starts = [DAY + n * charts.WIDTHS[bucket] for n in range(60)]
    points = [FlagPoint(start, 9, 1, 0, 0) for start in starts]
    drawn = charts.verdicts(points[:3], bucket)
    assert _ticks(drawn) == [(one.day, one.hour, one.minute) for one in starts[:3]]
    assert _ticks(charts.verdicts(points, bucket)) is None  # as many as there is room for
    days = {(DAY.date(), 1): Histogram({-5: 3})}
    assert _ticks(charts.quantiles(days, (0.5, 0.9), [])) == [(DAY.day, 0, 0)]


def test_a_bucket_without_a_whole_is_not_drawn() -> None:
    found = _series([_point(0, 10)], {1: Judged(1, 1, 0)})
    starts, counts, chart = charted(found, MEASURES["flagged"], (1,), zone=UTC, averaged=False, base="all buckets")
    assert (starts, counts) == ([DAY], [10]) and chart and chart.centre == 0.01
    assert charted(found, MEASURES["defects"], (1,), zone=UTC, averaged=True, base="all buckets")[1] == [0]
    assert charted({}, MEASURES["flagged"], (1,), zone=UTC, averaged=False, base="all buckets") == ([], [], None)


def test_the_hour_that_comes_twice_in_autumn_is_two_points() -> None:
    zone = ZoneInfo("Europe/Berlin")
    hours = [datetime(2026, 10, 25, hour, tzinfo=UTC) for hour in range(3)]
    points = [FlagPoint(hour.astimezone(zone), 90 + n, 10 - n, 0, 0) for n, hour in enumerate(hours)]
    found = series(points, {hours[1]: Judged(9, 4, 5)}, cutter("hour", zone))
    starts, counts, _ = charted(found, MEASURES["flagged"], (1,), zone=zone, averaged=False, base="all buckets")
    assert [f"{start:%H:%M %z}" for start in starts] == ["02:00 +0200", "02:00 +0100", "03:00 +0100"]
    assert counts == [10, 9, 8]
    assert list(found.values())[1] == Counts(100, 9, 9, 4, 5)


def test_signals_name_the_bucket_the_numbers_and_the_rule() -> None:
    found = _series([_point(day, 10 + day % 2) for day in range(8)] + [_point(8, 90)], {})
    starts, counts, chart = charted(found, MEASURES["flagged"], (1,), zone=UTC, averaged=False, base="the first half")
    assert chart
    assert signals(starts, counts, chart, "day") == ["2026-03-10: 90 of 1,000, beyond the control limits"]
    drawn = charts.control(starts, counts, chart, [], "day", "flag rate").to_dict()
    assert any(one.get("name") == charts.PICKED for one in drawn["params"])
    assert all("n" in row and "count" in row for rows in drawn["datasets"].values() for row in rows)


def test_lots_without_sums_of_their_own_are_the_other_lots() -> None:
    totals = {"A": Totals(100, 5, 0, 0), "*": Totals(900, 9, 3, 1), "": Totals(10, 0, 0, 0)}
    judged = {"A": Judged(5, 1, 4), "never summed": Judged(3, 2, 1), "": Judged(0, 0, 1)}
    assert grouped(totals, judged) == {
        "(other lots)": Counts(900, 9, 3, 2, 1), "A": Counts(100, 5, 5, 1, 4), "(no lot)": Counts(10, 0, 0, 0, 1),
    }  # fmt: skip


def test_stations_are_named_and_the_most_flagged_come_first() -> None:
    found = grouped(
        {n: Totals(100, flagged, 0, 0) for n, flagged in ((1, 1), (2, 5), (3, 1))},
        {9: Judged(1, 1, 0)},
        {1: "b", 2: "c", 3: "a"},
    )
    assert list(found) == ["c", "a", "b"]
    assert sum(found.values(), Counts()) == Counts(300, 7)


def test_shifts_are_summed_over_days_by_their_beginning() -> None:
    starts = [DAY + timedelta(hours=hours) for hours in (6, 14, 30)]
    found = by_shift({start: Counts(10, 1) for start in starts}, UTC, (time(6), time(14)))
    assert found == {"06:00": Counts(20, 2), "14:00": Counts(10, 1)}


def test_the_pareto_leaves_out_normal_parts_and_ends_at_the_whole() -> None:
    closed = {
        ("flagged", "defect", "dent"): 5, ("audit", "defect", "crack"): 5, ("flagged", "normal", ""): 99,
    }  # fmt: skip
    assert pareto(closed) == [("crack", 5, 0.5), ("dent", 5, 1.0)]
    assert pareto({}) == []


def test_the_data_that_a_chart_offers_holds_no_formula() -> None:
    """As `st.altair_chart` passes them to its table and CSV."""
    found = _series([_point(0, 10)], {})
    starts, counts, chart = charted(found, MEASURES["flagged"], (1,), zone=UTC, averaged=False, base="all buckets")
    assert chart
    mark = Mark(DAY, "epoch", Phrase("=1+1"))
    cell = Cell(station="@SUM(A1)", when="w", samples=1, frames=1, thin=False)
    drawn = [
        charts.pareto([("=1+1", 5, 1.0), ("dent", 5, 1.0)], "24 hours"), charts.coverage([cell], "week"),
        charts.control(starts, counts, chart, [mark], "day", "flag rate"),
    ]  # fmt: skip
    data = [rows for one in drawn for rows in one.to_dict()["datasets"].values()]
    texts = {value for rows in data for row in rows for value in row.values() if isinstance(value, str)}
    assert {"'=1+1", "'@SUM(A1)", "dent"} <= texts
    assert not any(text.startswith(FORMULA) for text in texts)


def test_every_chart_is_told_in_words_too() -> None:
    points = [_point(day, 10) for day in range(8)] + [_point(8, 90)]
    starts, counts, chart = charted(
        _series(points, {}), MEASURES["flagged"], (1,), zone=UTC, averaged=False, base="the first half"
    )
    assert chart
    mark = Mark(DAY, "epoch", Phrase("lamps"))
    cells = [Cell("press-1", "W9", 4, 100, False), Cell("press-2", "W10", 1, 90, True)]
    days = {(DAY.date(), 1): Histogram({-5: 3}), (DAY.date() + timedelta(days=1), 1): Histogram({-5: 1, 9: 2})}
    told = {
        "control": (
            charts.control(starts, counts, chart, [mark], "day", "flag rate"),
            "Flag rate, 2026-03-02 to 2026-03-10, n = 9,000 in 9 buckets. Centre 1.00%; the newest is 9.00%, limits "
            "561 ppm to 1.94%; points that break a rule: 1.",
        ),
        "verdicts": (
            charts.verdicts(points[:2], "day"),
            "Frames by verdict, 2026-03-02 to 2026-03-03, n = 2,006: pass 1,980, review 20, reject 0, not inspected 6.",
        ),
        "pareto": (
            charts.pareto([("dent", 3, 0.75), ("crack", 1, 1.0)], "7 days"),
            "Defects by reason in the last 7 days, n = 4, the most frequent first: dent 3, crack 1.",
        ),
        "quantiles": (charts.quantiles(days, (0.5, 0.9), [mark]), "n = 6 frames; the newest: 50%"),
        "losses": (charts.losses([(1, 2.5), (400, 0.25)]), "n = 2 points: 2.5 at step 1, 0.25 at step 400."),
        "severities": (charts.severities(days[max(days)], "a day"), "a day, n = 3: 1 below the threshold, 2 above."),
        "coverage": (charts.coverage(cells, "week"), "W9 to W10, n = 5 of 2 stations; thin places: 1."),
    }
    drawing = {name for name, one in vars(charts).items() if isfunction(one) and one.__module__ == charts.__name__}
    assert set(told) == {name for name in drawing if not name.startswith("_")}
    for drawn, words in told.values():
        assert words in drawn.to_dict()["description"]
    assert "description" in charts.quantiles(days, (0.5,), []).to_dict()


def test_a_point_is_named_by_its_time_and_of_two_hours_of_one_name_by_its_offset() -> None:
    zone = ZoneInfo("Europe/Berlin")
    starts = [datetime(2026, 10, 25, hour, tzinfo=UTC).astimezone(zone) for hour in range(3)]
    assert list(openable(starts, "hour").items()) == [
        ("10-25 03:00", starts[2]), ("10-25 02:00 +0100", starts[1]), ("10-25 02:00 +0200", starts[0]),
    ]  # fmt: skip


def test_no_page_offers_a_csv_but_ours() -> None:
    """`st.dataframe` and its like offer one that knows nothing of formulas."""
    called = {
        f"{path.name}: {node.attr}"
        for path in Path(charts.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert not {one for one in called if one.endswith((": dataframe", ": data_editor"))}


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [
        (1, 8, "12.50%"), (0, 8, "0.00%"), (0, 0, "—"), (1, 1000, "0.10%"), (9_996, 10_000_000, "1000 ppm"),
        (16, 957_585, "16.7 ppm"), (1, 957_585, "1.04 ppm"), (1, 10**9, "0.001 ppm"),
    ],
)  # fmt: skip
def test_a_rate_of_nothing_is_a_dash_and_a_small_one_is_no_zero(part: int, whole: int, words: str) -> None:
    assert rate(part, whole) == words


def test_a_chart_of_a_small_rate_says_it_in_parts_per_million() -> None:
    def drawn(defects: int) -> tuple[dict[str, Any], dict[str, Any]]:
        found = _series([_point(0, 10, 957_585)], {0: Judged(10, 0, defects)})
        starts, counts, chart = charted(found, MEASURES["defects"], (1,), zone=UTC, averaged=False, base="all buckets")
        assert chart
        made = charts.control(starts, counts, chart, [], "day", "rate").to_dict()
        (row,) = (rows[0] for rows in made["datasets"].values())
        return row, made["layer"][2]["encoding"]["y"]["axis"]

    row, axis = drawn(16)
    assert (row["rate"], row["from"], row["to"]) == ("16.7 ppm", "4.18 ppm", "29.2 ppm") and "ppm" in axis["labelExpr"]
    row, axis = drawn(9_576)
    assert row["rate"] == "1.00%" and axis == {"format": "%"}


def test_a_line_of_severities_ends_where_another_model_decides_and_what_happened_stands_in_it() -> None:
    day = DAY.date()
    days = {(day, 1): Histogram({0: 5}), (day, 2): Histogram({9: 2}), (day + timedelta(days=1), 2): Histogram({9: 7})}
    drawn = charts.quantiles(days, (0.5, 0.9), [Mark(DAY + timedelta(hours=7), "gap", Phrase("a gap"))]).to_dict()
    lines, marks = drawn["layer"]
    assert lines["encoding"]["detail"]["field"] == "decided"
    told = {name: drawn["datasets"][layer["data"]["name"]] for name, layer in (("lines", lines), ("marks", marks))}
    assert [(row["day"], row["decided"], row["n"]) for row in told["lines"] if row["quantile"] == "50%"] == [
        ("2026-03-02T00:00:00", 1, 5), ("2026-03-02T00:00:00", 2, 2), ("2026-03-03T00:00:00", 2, 7),
    ]  # fmt: skip
    assert [(row["at"], row["what"]) for row in told["marks"]] == [("2026-03-02T07:00:00", "a gap")]
    assert drawn["resolve"]["scale"] == {"strokeDash": "independent"}, "days of a quantile are dashed, and marks too"
    assert "layer" not in charts.quantiles(days, (0.5,), []).to_dict()


def test_every_bucket_has_a_format() -> None:
    assert set(trending.FORMATS) == {"minute", "quarter", "hour", "shift", "day"}


def test_a_name_from_a_frame_stays_text() -> None:
    assert "<td>&lt;b&gt;L7</td><td>1</td>" in table([{"Lot": "<b>L7", "<i>n": 1}])
    assert "<i>" not in table([{"Lot": "<b>L7", "<i>n": 1}])
    assert table([]).count("<td>") == 0
    whole = "<td><span class='whole'>2026-12-01</span> 03:38</td><td><span class='whole'>press-1</span></td>"
    assert whole in table([{"Since": "2026-12-01 03:38", "Station": "press-1"}])
    sentence = "a sentence that is longer than a name, and has a hy-phen"
    assert f"<td class='long'>{sentence}</td>" in table([{"What": sentence}])
    assert "span" not in table([{"Subject": "a - b, item:1", "Id": "x-" * 20}])
