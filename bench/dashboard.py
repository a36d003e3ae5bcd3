"""What the dashboard's queries take over 90 days and 20 stations, on both databases: `python -m bench.dashboard`.

The sums are filled as the agent would have written them for so many inspections; no page reads inspections for a trend.
Each view of the Trends page is asked for with every query that it makes, in one transaction. The sizes are asked in
turn, view by view, so that what else the machine does meets them alike; the last is told in times the first, too.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, time, timedelta
from itertools import cycle
from itertools import product as pairs
from pathlib import Path
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, Table

from agent.frame import StreamKey
from agent.settings import Settings
from agent.store import offsets, products, score_bins, stations, trends, users
from agent.store.buckets import cutter, hour, quarter
from agent.store.buckets import day as day_of
from agent.store.engine import open_engine, reading, upgrade, writing
from agent.store.rows import insert_sums
from agent.store.scopes import Scope
from agent.store.tables import (
    closing_day,
    closing_hour,
    closing_rollup,
    item,
    review,
    rollup_hour,
    rollup_minute,
    rollup_quarter,
    score_bin,
)
from bench.store import deployed
from dashboard.asking import GROUPS, WINDOWS, Asked
from dashboard.findings import find
from tests.postgresql import postgresql

DAYS, STATIONS, LOTS_A_DAY = 90, 20, 8
FLAGGED, TWICE = 0.02, 0.1  # shares: of the inspections, and of the flagged parts that two people judge
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SHIFTS = Settings().plant.shifts
PLANTS = (  # within hours the second one's shifts begin, and the third one's shifts and days
    (ZoneInfo("Europe/Berlin"), SHIFTS),
    (ZoneInfo("Europe/Berlin"), tuple(time(one.hour, 30) for one in SHIFTS)),
    (ZoneInfo("Asia/Kolkata"), SHIFTS),
)
REASONS = ("scratch", "dent", "stain", "crack")
JUDGED = ("n_flagged", "n_false_calls", "n_defects")
CLOSED = ("start", "station_id", "product_id", "kind", "decision", "reason")
Sums = dict[str, Any]
Names = tuple[Mapping[int, str], Mapping[int, str]]  # of products and stations, by id


def main() -> None:
    """Fills, asks, prints a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard", description=__doc__.splitlines()[0])
    parser.add_argument("--database", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    parser.add_argument("--inspections", nargs="+", type=int, default=[1_000_000, 10_000_000])
    parser.add_argument("--windows", nargs="+", choices=WINDOWS, default=list(WINDOWS))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    sizes: list[int] = options.inspections
    columns = [*(f"{one:,}: median / p95" for one in sizes), "times", "worst view"]
    print(f"| database | window | {' | '.join(columns)} |\n|{'---|' * (2 + len(columns))}")
    for database in options.database:
        with _databases(database, len(sizes)) as engines:
            filled = [(engine, fill(engine, size)) for engine, size in zip(engines, sizes, strict=True)]
            for window in options.windows:
                said = " | ".join(measured(filled, window, options.repeats))
                print(f"| {database} | {window} | {said} |", flush=True)


def measured(filled: Sequence[tuple[Engine, Names]], window: str, repeats: int) -> list[str]:
    """Of each size the median and the p95 of all views, the last one's in times the first one's, its slowest view."""
    taken: list[list[float]] = [[] for _ in filled]
    slowest, worst = 0.0, ""
    for asked in zip(*(list(views(window, *names)) for _, names in filled), strict=True):
        times = list(zip(*(_round(filled, asked) for _ in range(repeats + 1)), strict=True))
        for every, mine in zip(taken, times, strict=True):
            every += mine[1:]  # the first time does not count
        if (median := statistics.median(times[-1][1:])) > slowest:
            slowest, worst = median, told(asked[-1])
    figures = [(statistics.median(one), sorted(one)[int(0.95 * (len(one) - 1))]) for one in taken]
    (median, p95), (last_median, last_p95) = figures[0], figures[-1]
    return [
        *(f"{half:.0f} / {most:.0f} ms" for half, most in figures),
        f"{last_median / median:.2f} / {last_p95 / p95:.2f}", f"{worst}, {slowest:.0f} ms",
    ]  # fmt: skip


def _round(filled: Sequence[tuple[Engine, Names]], asked: Sequence[Asked]) -> list[float]:
    return [ask(engine, view) for (engine, _), view in zip(filled, asked, strict=True)]


@contextmanager
def _databases(kind: str, count: int) -> Iterator[list[Engine]]:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        if kind == "sqlite":
            urls = [f"sqlite:///{Path(folder) / f'bench{n}.db'}" for n in range(count)]
        else:
            server = stack.enter_context(postgresql())
            for n in range(count):
                server.execute(f"CREATE DATABASE bench{n}")
            urls = [server.url(f"bench{n}") for n in range(count)]
        engines = [open_engine(url) for url in urls]
        for engine in engines:
            stack.callback(engine.dispose)
            upgrade(engine)
        yield engines


def views(window: str, product_ids: Mapping[int, str], station_ids: Mapping[int, str]) -> Iterator[Asked]:
    """The Trends page of a window: by each group, of each scope, at each of `PLANTS`."""
    span, bucket = WINDOWS[window]
    for by, scope, (zone, shifts) in pairs(GROUPS, scopes(product_ids, station_ids), PLANTS):
        since = cutter(bucket, zone, shifts)(quarter(NOW - span))
        yield Asked(window, since, NOW, bucket, scope, "flagged", by, zone, shifts, product_ids, station_ids)


def scopes(product_ids: Iterable[int], station_ids: Iterable[int]) -> Iterator[Scope]:
    """Everything, one product, one station, and the lot that runs."""
    yield Scope()
    yield Scope(product_id=next(iter(product_ids)))
    yield Scope(station_id=next(iter(station_ids)))
    yield Scope(lot=f"L{NOW:%m%d}-{LOTS_A_DAY - 1}")


def told(view: Asked) -> str:
    """Which view it is, in words."""
    of = {"product": view.scope.product_id, "station": view.scope.station_id, "lot": view.scope.lot}
    asked = " and ".join(f"a {name}" for name, one in of.items() if one is not None)
    return f"by {view.by}, {asked or 'everything'}, {view.zone.key} from {view.shifts[0]:%H:%M}"


def ask(engine: Engine, view: Asked) -> float:
    """Milliseconds that its queries take."""
    began = perf_counter()
    with reading(engine) as conn:
        find(conn, view)
    return 1e3 * (perf_counter() - began)


def fill(engine: Engine, inspections: int) -> Names:
    """Sums of so many inspections, evenly over days, quarters and stations; names of the products and stations."""
    rng = random.Random(0)
    with writing(engine) as conn:
        product_ids = {products.add(conn, name, now=NOW).id: name for name in ("flange", "bracket")}
        station_ids = {stations.add(conn, f"press-{n}", now=NOW).id: f"press-{n}" for n in range(STATIONS)}
        live = {product_id: deployed(conn, product_id, n) for n, product_id in enumerate(product_ids)}
        said_by = [users.add(conn, name, "operator", NOW).id for name in ("one", "two")]
        stream_id = offsets.stream_id(conn, StreamKey("bench", "bench", "frames"), NOW)
    share = inspections / (DAYS * 96 * STATIONS)
    twice = round(inspections * FLAGGED * TWICE / DAYS)
    runs = dict(zip(station_ids, list(product_ids) * STATIONS, strict=False))
    for day in range(DAYS):
        start = quarter(NOW) - timedelta(days=day + 1)
        keys = [(start + timedelta(minutes=15 * n), station, n) for n in range(96) for station in station_ids]
        rows = [_sums(at, station, runs[station], live, n, share, rng) for at, station, n in keys]
        closed = [_closing(row, rng) for row in rows if row["n_review"]]
        with writing(engine) as conn:
            if day < 1:
                conn.execute(sa.insert(rollup_minute), rows)
            conn.execute(sa.insert(rollup_quarter), rows)
            _add(conn, rollup_hour, rows, hour, trends.KEY, trends.SUMS)
            if closed:
                conn.execute(sa.insert(closing_rollup), closed)
                _add(conn, closing_hour, map(_judged, closed), hour, trends.KEY[:4], JUDGED)
                _add(conn, closing_day, closed, day_of, CLOSED, ("n",))
            conn.execute(sa.insert(score_bin), list(_bins(start, runs, live, rng)))
            _judge_twice(conn, start, range(day * twice, (day + 1) * twice), runs, stream_id, said_by)
    with writing(engine) as conn:
        if engine.dialect.name == "postgresql":
            conn.exec_driver_sql("ANALYZE")
    return product_ids, station_ids


def _sums(
    at: datetime, station: int, made: int, deployed: Mapping[int, int], n: int, share: float, rng: random.Random
) -> Sums:
    seen = int(share) + (rng.random() < share % 1)
    flagged = sum(rng.random() < FLAGGED for _ in range(min(seen, 200)))
    return {
        "start": at, "station_id": station, "product_id": made, "lot": f"L{at:%m%d}-{n * LOTS_A_DAY // 96}",
        "deployment_id": deployed[made], "n_pass": seen - flagged, "n_review": flagged, "n_reject": 0,
        "n_not_inspected": 0, "n_late": 0, "sum_latency_ms": 40.0 * seen,
    }  # fmt: skip


def _closing(row: Sums, rng: random.Random) -> Sums:
    defect = rng.random() < 0.4
    kept = {name: row[name] for name in ("start", "station_id", "product_id", "lot", "deployment_id")}
    said = {"decision": "defect", "reason": rng.choice(REASONS)} if defect else {"decision": "normal", "reason": ""}
    return {**kept, **said, "kind": "flagged", "n": row["n_review"]}


def _bins(start: datetime, runs: Mapping[int, int], deployed: Mapping[int, int], rng: random.Random) -> Iterator[Sums]:
    for station, made in runs.items():
        for number in {score_bins.bin_of(rng.gauss(-3, 1)) for _ in range(200)}:
            yield {
                "day": start.date(), "station_id": station, "product_id": made, "deployment_id": deployed[made],
                "bin": number, "n": rng.randrange(1, 50),
            }  # fmt: skip


def _judge_twice(
    conn: Connection, start: datetime, numbers: range, runs: Mapping[int, int], stream_id: int, said_by: Sequence[int]
) -> None:
    """Parts of one day that two people judged, alike."""
    rows = []
    for n, (station, made) in zip(numbers, cycle(runs.items()), strict=False):
        at = start + timedelta(days=(n - numbers.start) / len(numbers))
        rows.append({
            "id": n + 1, "stream_id": stream_id, "partition": 0, "offset": n,
            "event_at": at, "frame_id": str(n), "station_id": station, "product_id": made, "kind": "flagged",
            "state": "closed", "decision": "normal", "verdict": "review", "created_at": at, "closed_at": at,
            "agreed": True,
        })  # fmt: skip
    conn.execute(sa.insert(item), rows)
    conn.execute(sa.insert(review), [
        {"item_id": row["id"], "user_id": who, "decision": "normal", "state": state, "created_at": row["created_at"]}
        for row in rows for who, state in zip(said_by, ("open", "closed"), strict=True)
    ])  # fmt: skip


def _judged(row: Sums) -> Sums:
    normal = row["decision"] == "normal"
    return {**row, "n_flagged": row["n"], "n_false_calls": row["n"] * normal, "n_defects": row["n"] * (not normal)}


def _add(
    conn: Connection, table: Table, rows: Iterable[Sums], start_of: Callable[[datetime], datetime],
    key: tuple[str, ...], sums: tuple[str, ...],
) -> None:  # fmt: skip
    """Adds the rows to those of wider buckets."""
    found: dict[tuple[Any, ...], Sums] = {}
    for row in rows:
        wide = {name: row[name] for name in key} | {"start": start_of(row["start"])}
        into = found.setdefault(tuple(wide.values()), wide | dict.fromkeys(sums, 0))
        for name in sums:
            into[name] += row[name]
    conn.execute(insert_sums(conn, table, key, sums), list(found.values()))


if __name__ == "__main__":
    main()
