"""The pictures of the live view: small, few, and drawn by nothing but time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.frame import Record, StreamKey
from agent.live import Glance, NoLive
from agent.pipeline.glances import Glances
from agent.pipeline.pictures import GLANCE, Heatmap
from agent.pipeline.work import Lane, Outcome, Place, Work
from agent.store.offsets import Claim
from model.images import InputSpec, decode
from tests.databases import NOW

LANE = Lane(StreamKey("c", "t", "frames"), Claim(1, 0, 0, 1, "a"))
PLACE = Place(1, "press-1", 7, "flange", 0.1)


@dataclass
class Wall(NoLive):
    """What a live view was given."""

    available: bool = True
    given: list[tuple[str, Glance]] = field(default_factory=list)

    def show(self, place: str, glance: Glance) -> None:
        self.given.append((place, glance))


def _work(verdict: str = "pass", station: int = 1, **changes: Any) -> Work:
    record = Record(0, 0, NOW, None, (), b"")
    work = Work(LANE, record, NOW, 0.0, place=replace(PLACE, station_id=station), pixels=np.zeros((9, 9, 3), np.uint8))
    work.outcome = Outcome(verdict, NOW)
    for name, value in changes.items():
        setattr(work, name, value)
    return work


def _glances(wall: Wall, clock: list[float], every_s: float = 5.0) -> Glances:
    return Glances(wall, "plant", every_s, monotonic=lambda: clock[0])


@given(
    st.lists(
        st.tuples(st.floats(0, 4), st.sampled_from([1, 2]), st.sampled_from(["pass", "reject"]), st.booleans()),
        max_size=40,
    )
)
def test_which_frame_is_shown_depends_on_time_and_station_alone(came: list[tuple[float, int, str, bool]]) -> None:
    clock, other = [0.0], [0.0]
    told, untold = _glances(Wall(), clock), _glances(Wall(), other)
    last = dict[int, float]()
    for wait, station, verdict, audit in came:
        clock[0] = other[0] = clock[0] + wait
        drawn = told.draw(_work(verdict, station, audit=audit))
        assert drawn == untold.draw(_work("pass", station))
        assert drawn == (clock[0] >= last.get(station, -5.0) + 5.0)
        if drawn:
            last[station] = clock[0]


def test_nothing_is_drawn_where_nobody_sees_it() -> None:
    clock = [0.0]
    assert not _glances(Wall(available=False), clock).draw(_work())
    assert not _glances(Wall(), clock, every_s=0).draw(_work())
    assert not _glances(Wall(), clock).draw(_work(pixels=None))
    assert not _glances(Wall(), clock).draw(_work(place=None))
    assert _glances(Wall(), clock).draw(_work("not_inspected")), "a frame that no model saw is one, too"


def test_a_shown_frame_is_small_and_under_its_heatmap_and_a_broken_one_is_nobody_s_trouble() -> None:
    wall, clock = Wall(), [0.0]
    glances = _glances(wall, clock)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (700, 1400, 3), dtype=np.uint8)
    work = _work(pixels=noise, map=Heatmap(rng.random((64, 64), dtype=np.float32), InputSpec(64, 64)))
    glances.show(work)
    assert wall.given == [], "it was not drawn"
    assert glances.draw(work)
    glances.show(work)
    clock[0] += 5
    broken = _work(pixels=np.zeros((0, 3, 3), np.uint8))
    assert glances.draw(broken)
    glances.show(broken)
    ((place, glance),) = wall.given
    assert (place, glance.at, glance.heatmap) == ("plant:1", NOW, True)
    assert decode(glance.webp).shape == (GLANCE // 2, GLANCE, 3) and len(glance.webp) < 64 << 10
