"""`goodpart replay`."""

from __future__ import annotations

import json as json_module
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from sqlalchemy import Connection, Engine

from agent.cli.common import Acting, CommandError, show
from agent.cli.progress import bars
from agent.cli.times import moment
from agent.settings import Settings, utc_now
from agent.store import inspections, products, stations
from agent.store.blobs import open_blobs
from agent.store.engine import reading
from agent.store.inspections import Inspection, Window

if TYPE_CHECKING:
    from agent.pipeline.work import Outcome
    from agent.replay.comparing import Replayed
    from agent.replay.frames import Log

SHOWN = 20  # rows of the table


def replay(
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str | None = None,
    station: str | None = None,
    product: str | None = None,
    with_: Annotated[Literal["recorded", "live"], Parameter(name="--with")] = "recorded",
    tolerance: float | None = None,
    limit: int | None = None,
    json: bool = False,
    common: Acting = Acting(),
) -> None:
    """Score recorded frames again and compare. Exit status 0 if nothing differs.

    It changes no decision; what it finds of a frame is kept for the page Part.

    Args:
        from_: first event time: RFC 3339, or plant time such as 2026-01-31T08:00 or 2026-01-31.
        to: event time to end before; a date is included (default: now).
        station: only this station's.
        product: only this product's.
        with_: the deployment that decided, or what is live now; of another deployment only verdicts are compared.
        tolerance: how far scores may be apart (default: 0.001 of the interquartile range of the calibration scores).
        limit: at most so many, the oldest first.
        json: print one JSON object per line and decision.
    """
    if tolerance is not None and not tolerance >= 0:
        raise CommandError(f"--tolerance {tolerance}: 0 or more is needed")
    if limit is not None and limit < 1:
        raise CommandError(f"--limit {limit}: 1 or more is needed")
    settings, engine = common.settings(), common.database()
    who = common.somebody(engine)
    with reading(engine) as conn:
        window = _window(conn, settings, from_, to, station, product)
        total = inspections.count_in(conn, window)
    total = min(total, limit or total)
    if not total:
        raise CommandError("nothing was inspected then; widen --from and --to, or leave out --station or --product")
    found: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    differing: list[Replayed] = []
    live, by = with_ == "live", who.id if who else None
    with _replayed(engine, settings, window, total, live=live, tolerance=tolerance, by=by) as decisions:
        for one in decisions:
            found[one.agreement] += 1
            if one.now and _word(one.before) != _word(one.now):
                changes[f"{_word(one.before)} became {_word(one.now)}"] += 1
            if json:
                print(json_module.dumps(one.to_dict()))
            elif one.agreement not in ("identical", "within_tolerance", "same_verdict") and len(differing) < SHOWN:
                differing.append(one)
    if differing:
        _show(differing, sum(found[name] for name in ("different", "gone", "not_comparable")))
    for said in (_counts(found), _counts(changes)):
        if said:
            print(said, file=sys.stderr if json else sys.stdout)
    if found["different"]:
        sys.exit(1)
    if found["gone"] + found["not_comparable"] == sum(found.values()):
        raise CommandError("none of them could be compared")


def _window(
    conn: Connection, settings: Settings, from_: str, to: str | None, station: str | None, product: str | None
) -> Window:
    start = moment("--from", from_, settings.timezone)
    end = moment("--to", to, settings.timezone, end=True) if to else utc_now()
    if start >= end:
        raise CommandError(f"--from {from_} is not before --to {to or 'now'}")
    return Window(
        start=start,
        end=end,
        station_id=stations.named(conn, station).id if station else None,
        product_id=products.named(conn, product).id if product else None,
    )


@contextmanager
def _replayed(
    engine: Engine,
    settings: Settings,
    window: Window,
    total: int,
    *,
    live: bool,
    tolerance: float | None,
    by: int | None,
) -> Iterator[Iterator[Replayed]]:
    from agent.replay.keeping import keeping
    from agent.replay.models import Models
    from agent.replay.run import Replay
    from model.progress import Report

    store = open_blobs(settings.blobs)
    models = Models(engine, store, settings, live=live)
    with _log(settings) as log, bars() as on_progress:
        report = Report("replaying", total, on_progress)

        def told() -> Iterator[Replayed]:
            made = Replay(engine, store, settings, log, models, tolerance=tolerance).run(window, total)
            for number, one in enumerate(keeping(engine, made, live=live, by=by, clock=utc_now), 1):
                report(number)
                yield one

        yield told()


@contextmanager
def _log(settings: Settings) -> Iterator[Log | None]:
    """The broker's; a spool keeps no frame that is recorded."""
    if settings.source.kind == "directory":
        print("a spool keeps no frame that is recorded: only kept evidence is replayed", file=sys.stderr)
        yield None
        return
    from agent.sources.kafka_log import KafkaLog

    with KafkaLog(settings.kafka) as log:
        yield log


def _show(differing: Sequence[Replayed], all_: int) -> None:
    columns = ["event_at", "offset", "found", "before", "now", "difference", "why"]
    rows = [
        (
            one.before.event_at, f"{one.before.partition}/{one.before.offset}", _plain(one.agreement),
            _word(one.before), one.now and _word(one.now), one.difference, one.detail,
        )
        for one in differing
    ]  # fmt: skip
    show(columns, rows, as_json=False)
    if all_ > len(rows):
        print(f"and {all_ - len(rows)} more; --json has them all")


def _word(one: Inspection | Outcome) -> str:
    return f"not inspected ({one.reason})" if one.verdict == "not_inspected" else one.verdict


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{n} {_plain(name)}" for name, n in found.most_common())


def _plain(name: str) -> str:
    return str(name).replace("_", " ")
