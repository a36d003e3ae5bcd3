"""Audit windows: whatever is drawn, said, taken back and cut, a snapshot holds what it should."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.service import Refused
from agent.store import epochs, products, samples, snapshots
from agent.store.engine import StoreError, writing
from tests.audited import Plant, at
from tests.databases import line

pytestmark = pytest.mark.usefixtures("each_database")

ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("draw"), st.integers(0, 70), st.sampled_from(["p", "q", None])),
        st.tuples(st.sampled_from(["normal", "defect", "unsure", "undo"]), st.integers(0, 20), st.none()),
        st.tuples(st.sampled_from(["look", "cut"]), st.integers(0, 100), st.none()),
    ),
    max_size=25,
)


def test_a_snapshot_holds_good_parts_of_one_epoch_whose_window_is_admitted(tmp_path: Path) -> None:
    with line(tmp_path) as here:

        @settings(max_examples=12, deadline=None)
        @given(acts=ACTS)
        def whatever_happens(acts: list[tuple[str, int, Any]]) -> None:
            with writing(here.engine) as conn:
                product = products.add(conn, uuid4().hex, now=at(-50))
            plant = Plant(replace(here, product_id=product.id), tmp_path)
            _act(plant, acts)
            with writing(here.engine) as conn:
                products.retire(conn, product.id, at(0))  # which leaves it out of later looks

        whatever_happens()


def _act(plant: Plant, acts: list[tuple[str, int, Any]]) -> None:
    items, hours = list[int](), 0.0
    for act, value, serial in acts:
        if act == "draw":
            items.append(plant.draw(value, serial))
        elif act == "look":
            plant.look(hours := max(hours, value))
            _check_snapshots(plant)
        elif act == "cut":
            plant.cut(value)
        elif items:
            item = items[value % len(items)]
            with suppress(StoreError, Refused):
                plant.undo(item, uuid4().hex) if act == "undo" else plant.say(item, act, uuid4().hex)
    plant.look(hours)
    _check_snapshots(plant)


def _check_snapshots(plant: Plant) -> None:
    done = plant.admitted
    with writing(plant.here.engine) as conn:
        found = samples.all(conn, plant.here.product_id)
        for epoch in epochs.of_product(conn, plant.here.product_id):
            if not found:
                continue
            try:
                frozen = snapshots.freeze(conn, plant.here.product_id, at(0), epoch_id=epoch.id)
            except StoreError:
                continue  # nothing of this epoch
            counted = frozen.of_role("calibration") + frozen.of_role("holdout")
            assert {one.epoch_id for one in counted} <= {epoch.id}
            assert not counted or epoch.cause != "import"
            for one in counted:
                assert one.item_id is not None
                item = plant.here.item(one.item_id)
                assert (item.state, item.decision) == ("closed", "normal")
                assert any(window.holds(item.event_at) for window in done) or item.serial
        by_part: dict[str, set[tuple[str, int]]] = {}
        for one in found:
            if one.serial and one.epoch_id is not None:
                by_part.setdefault(one.serial, set()).add((one.role, one.epoch_id))
    assert all(len(places) == 1 for places in by_part.values()), "a part has one place"
