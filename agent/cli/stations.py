"""`goodpart stations`."""

from __future__ import annotations

from cyclopts import App

from agent.cli import silence
from agent.cli.common import Acting, CommandError, Common, console, new_key, show
from agent.service import stations as service
from agent.settings import utc_now
from agent.store import alerts, products, stations
from agent.store.alerts import fitted, station_subject
from agent.store.engine import reading
from agent.store.station_states import OK, kinds_by_subject, troubles

app = App(
    name="stations", help="List, add and change stations. Example: goodpart stations add press-1 --product flange"
)


@app.command(name="list")
def list_(*, json: bool = False, common: Common = Common()) -> None:
    """List stations, what they run and how they are. Example: goodpart stations list

    The status is the worst that stands open of a station: blind, silent, frozen, black, overexposed, out of focus, gaps
    (frames lost before the broker); else ok. Stations of which nobody has said when they are silent are named below.
    """
    settings = common.settings()
    with reading(common.database()) as conn:
        kinds = kinds_by_subject(alerts.standing(conn))
        names = {product.id: product.name for product in products.all(conn)}
        listed = stations.all(conn)
        rows = [
            (
                station.name,
                names.get(station.product_id) if station.product_id else None,
                settings.audit.rate if station.audit_rate is None else station.audit_rate,
                station.silent_after(settings.alerts.silent_after_s),
                next(iter(troubles(station, kinds.get(fitted(station_subject(station.name)), ()))), OK),
                station.last_frame_at,
            )
            for station in listed
        ]
    columns = ["name", "product", "audit_rate", "silent_after_s", "status", "last_frame_at"]
    show(columns, rows, as_json=json, empty="no stations yet")
    if not json and (said := silence.unwatched(listed, settings)):
        console.print(f"{said}; fix: {silence.FIX}", markup=False, highlight=False, soft_wrap=True)


@app.command
def add(
    name: str,
    *,
    product: str | None = None,
    audit_rate: float | None = None,
    silent_after: float | None = None,
    acting: Acting = Acting(),
) -> None:
    """Add a station. Example: goodpart stations add press-1 --product flange

    Args:
        name: the camera position, as frames name it in ce_source.
        product: what it runs when a frame does not say.
        audit_rate: share of its parts reviewed whatever the verdict (default: audit.rate of the settings).
        silent_after: seconds without a frame that raise an alert; 0: never (default: alerts.silent_after_s).
    """
    engine = acting.database()
    service.add(
        engine, acting.actor(engine), name,
        product=product, audit_rate=audit_rate, silent_after_s=silent_after, key=new_key(), now=utc_now(),
    )  # fmt: skip
    print(f"added station {name}")


@app.command(name="set")
def set_(
    name: str,
    *,
    product: str | None = None,
    audit_rate: float | None = None,
    silent_after: float | None = None,
    acting: Acting = Acting(),
) -> None:
    """Change a station while agents run. Example: goodpart stations set press-1 --product bracket

    Args:
        name: the camera position.
        product: what it runs from its next unread frame on, where frames do not say.
        audit_rate: share of its parts reviewed whatever the verdict; running agents follow within a second.
        silent_after: seconds without a frame that raise an alert; 0: never (default: alerts.silent_after_s).
    """
    if product is None and audit_rate is None and silent_after is None:
        raise CommandError("nothing to change: give --product, --audit-rate or --silent-after")
    engine = acting.database()
    done = service.change(
        engine, acting.actor(engine), name,
        product=product, audit_rate=audit_rate, silent_after_s=silent_after, key=new_key(), now=utc_now(),
    )  # fmt: skip
    print(f"changed station {name}")
    # Of streams of the same topic, the last one is read now.
    offsets = {f"{one.topic}/{one.partition}": one.next_offset for one in done.starts}
    for partition, offset in offsets.items():
        print(f"{product} from offset {offset} of {partition}")


@app.command
def retire(name: str, *, acting: Acting = Acting()) -> None:
    """Retire a station: its frames are no longer known. Example: goodpart stations retire press-1"""
    engine = acting.database()
    service.retire(engine, acting.actor(engine), name, key=new_key(), now=utc_now())
    print(f"retired station {name}")


@app.command
def relearn(name: str, *, same_pictures: bool = False, acting: Acting = Acting()) -> None:
    """Learn anew what a station's pictures are like. Example: goodpart stations relearn press-1

    For after its camera, lens or lamp was changed on purpose: the alarms of saturated and of blurred pictures compare
    with what was usual before. An epoch opens for each product that it runs, since what calibrated before no longer
    speaks for these pictures: see goodpart epochs.

    Args:
        name: the camera position.
        same_pictures: open no epoch: good parts look as they did.
    """
    engine = acting.database()
    done = service.relearn(
        engine, acting.actor(engine), name, opens_epoch=not same_pictures, key=new_key(), now=utc_now()
    )
    if not (done.forgotten or done.epochs):
        raise CommandError(f"nothing is kept of the pictures of {name} yet")
    print(f"forgot what was usual at station {name}; running agents follow within a minute")
    for product, epoch in done.epochs.items():
        print(f"opened epoch {epoch} of {product}: see what its next certificate needs: goodpart epochs list {product}")
