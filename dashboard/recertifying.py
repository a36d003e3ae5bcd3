"""Certifying a version anew after calibration parts were taken out: what there is to do, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import streamlit as st
from sqlalchemy import Connection

from agent.service import models
from agent.store import calibration, commands, registry
from agent.store.commands import Command
from agent.store.users import User
from dashboard import clocks, context
from dashboard.tables import plain
from dashboard.words import retold, say, several


@dataclass(frozen=True, slots=True)
class Due:
    """What may be certified anew: `numbers` of versions by id, `gone` images by version id; the `last` such command."""

    numbers: Mapping[int, int]
    gone: Mapping[int, int]
    last: Command | None

    @property
    def words(self) -> str | None:
        """What became of the last command, or what there is to do; None: nothing."""
        if self.last and self.last.state in commands.PENDING:
            return say("An agent was asked to certify v{number} anew.", number=self.last.args["number"])
        if self.gone:
            left = ", ".join(f"v{self.numbers[one]} ({n})" for one, n in self.gone.items())
            return say(
                "Images were taken out of the calibration set since the certificate of {left}: certify it anew.",
                left=left,
            )
        if self.last and self.last.finished_at and self.last.state == "done":
            return several(
                "v{number} was certified anew on {at}, without {n} image.",
                "v{number} was certified anew on {at}, without {n} images.",
                (self.last.result or {}).get("dropped", 0),
                number=self.last.args["number"],
                at=f"{self.last.finished_at.astimezone(clocks.zone()):%Y-%m-%d %H:%M}",
            )
        return None


def read(conn: Connection, product_id: int) -> Due:
    """Of one product."""
    gone = calibration.taken_out(conn, product_id)
    numbers = {one: registry.version(conn, one).number for one in gone}
    return Due(numbers, gone, commands.of_product(conn, models.RECERTIFY, product_id))


def tell(due: Due) -> None:
    """Says how it stands; nothing where there is nothing to say."""
    last = due.last
    if last and last.state == "failed" and due.gone:
        problem = retold(last.problem or "") or say("no reason given")
        st.error(
            say(
                "v{number} could not be certified anew: {problem}",
                number=last.args["number"],
                problem=plain(problem),
            )
        )
    if due.words:
        (st.warning if due.gone else st.caption)(due.words)


def button(due: Due, user: User, key: str) -> None:
    """For engineers: which version, and why."""
    pending = due.last is not None and due.last.state in commands.PENDING
    if pending or not due.gone:
        st.button(say("Certify anew"), disabled=True, icon=":material/verified:", key=f"{key}-not-due")
        return
    with st.popover(say("Certify anew"), icon=":material/verified:"):
        st.caption(
            say("On what is left of its calibration parts, by the scores that it had. The look stays as it was.")
        )
        chosen = st.selectbox(
            say("Version"), list(due.gone), format_func=lambda one: f"v{due.numbers[one]}", key=f"{key}-version"
        )
        why = st.text_input(say("Why"), key=f"{key}-why", placeholder=say("part S-17 is scratched"))
        if st.button(say("Certify anew"), key=key, disabled=chosen is None or not why.strip()):
            ask = partial(models.ask_recertify, context.engine(), user, chosen, why)
            if context.act(ask, say("an agent certifies it anew")):
                st.rerun()
