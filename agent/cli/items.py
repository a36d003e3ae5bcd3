"""`goodpart items`."""

from __future__ import annotations

from cyclopts import App

from agent.cli.common import Acting, new_key
from agent.service import items as service
from agent.settings import utc_now

app = App(name="items", help="Keep the evidence of an item for good. Example: goodpart items pin 17")


@app.command
def pin(item: int, /, *, acting: Acting = Acting()) -> None:
    """Keep an item's evidence, whatever [retention] says. Example: goodpart items pin 17"""
    engine = acting.database()
    service.pin(engine, acting.actor(engine), item, key=new_key(), now=utc_now())
    print(f"pinned item {item}")


@app.command
def unpin(item: int, /, *, acting: Acting = Acting()) -> None:
    """Leave an item's evidence to [retention] again. Example: goodpart items unpin 17"""
    engine = acting.database()
    service.unpin(engine, acting.actor(engine), item, key=new_key(), now=utc_now())
    print(f"unpinned item {item}")
