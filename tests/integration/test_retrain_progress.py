from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from agent.retrain import run
from agent.retrain.due import Due
from agent.retrain.errors import Cancelled
from agent.retrain.progress import MOST_POINTS, WRITE_EVERY, Curve, Done, RunRow, Stage, Step
from agent.store import runs
from agent.store.engine import reading, writing
from model.fitting import LOOK_EVERY
from tests.integration.retrain_parts import NOW, database, tiny


class Timer:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Shop:
    def __init__(self, place: Path) -> None:
        settings = tiny(place)
        self.engine: Engine
        self.engine, _, product = database(settings)
        with writing(self.engine) as conn:
            self.run_id = run.open_run(conn, settings, Due(product.id, "cron"), NOW).id
            runs.start(conn, self.run_id, None, NOW)
        self.timer = Timer()
        self.heard: list[Step] = []
        self.row = RunRow(
            self.engine, self.run_id, clock=lambda: NOW, on_progress=self.heard.append, timer=self.timer
        )  # fmt: skip

    def written(self) -> tuple[str | None, int, float | None]:
        with reading(self.engine) as conn:
            run = runs.get(conn, self.run_id)
        return run.phase, run.step, run.loss


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.engine.dispose()


def step(phase: str, number: int) -> Done:
    return Done(phase, number, 10, 2.0, 1.0, loss=number / 10)


def test_a_row_is_written_once_a_second_at_each_new_phase_and_at_its_end(shop: Shop) -> None:
    shop.row(step("training", 1))
    assert shop.written() == ("training", 1, 0.1)
    shop.row(step("training", 2))
    assert shop.written() == ("training", 1, 0.1)
    shop.timer.now += 1
    shop.row(step("training", 3))
    assert shop.written() == ("training", 3, 0.3)
    shop.row(step("training", 10))
    assert shop.written() == ("training", 10, 1.0)
    shop.row(step("calibrating", 1))
    assert shop.written() == ("calibrating", 1, 0.1)
    assert len(shop.heard) == 5


def test_the_losses_of_training_are_kept_for_their_curve(shop: Shop) -> None:
    for number in range(1, 11):
        shop.row(step("training", number))
    shop.row(step("calibrating", 1))
    with reading(shop.engine) as conn:
        losses = runs.get(conn, shop.run_id).losses
    assert losses == [[number, number / 10] for number in range(1, 11)]


@given(st.integers(1, 5000), st.lists(st.floats(0, 1), max_size=3))
def test_a_curve_has_few_points_however_often_the_run_began_again(steps: int, breaks: list[float]) -> None:
    whole, points = Curve(), list[tuple[int, float]]()
    for number in range(1, steps + 1):
        whole.add(number, steps, 1 / number)
    first = 1
    for last in [*(max(1, round(share * steps)) for share in breaks), steps]:
        curve = Curve(points)
        for number in range(min(first, last), last + 1):
            curve.add(number, steps, 1 / number)
        points, first = curve.points, max(1, last - 30)  # from a checkpoint a while ago
    assert points == whole.points
    assert len(points) <= MOST_POINTS and points[-1] == (steps, 1 / steps)


def test_a_run_ended_from_outside_hears_of_it(shop: Shop) -> None:
    shop.row(step("training", 1))
    with writing(shop.engine) as conn:
        runs.close(conn, shop.run_id, "cancelled", "not now", NOW)
    shop.timer.now += 1
    with pytest.raises(Cancelled):
        shop.row(step("training", 2))


def test_a_stage_counts_to_its_end() -> None:
    heard: list[Step] = []
    stage = Stage("comparing", 5, heard.append)
    for by in (2, 2, 1):
        stage.advance(by)
    assert [one.step for one in heard] == [2, 4, 5]
    assert heard[-1].eta_s == 0 and all(one.rate > 0 for one in heard)


def test_the_curve_is_written_as_far_as_a_checkpoint_may_be(shop: Shop) -> None:
    assert WRITE_EVERY == LOOK_EVERY
    for number in range(1, WRITE_EVERY + 3):
        shop.row(Done("training", number, 100, 2.0, 1.0, loss=1.0))
    with reading(shop.engine) as conn:
        losses = runs.get(conn, shop.run_id).losses
    assert losses and [step for step, _ in losses] == list(range(1, WRITE_EVERY + 1))
