"""What is in flight is bounded; who waits for room gets it."""

from __future__ import annotations

from threading import Event, Thread

import pytest

from agent.pipeline.budget import Budget


@pytest.mark.promise(4)
def test_room_ends_with_frames_or_with_bytes() -> None:
    budget = Budget(frames=4, limit=100)
    budget.take(10)
    assert budget.room == 3
    budget.take(60)
    assert budget.room == 0
    budget.give(60)
    assert budget.room == 3


def test_it_is_low_again_at_half() -> None:
    budget = Budget(frames=4, limit=1000)
    for _ in range(4):
        budget.take(1)
    assert not budget.low
    budget.give(1)
    assert not budget.low
    budget.give(1)
    assert budget.low


def test_pixels_wait_for_room_but_one_large_frame_passes_alone() -> None:
    budget = Budget(frames=4, limit=100)
    assert budget.take_pixels(500, Event())
    taken = Event()

    def take() -> None:
        assert budget.take_pixels(10, Event())
        taken.set()

    thread = Thread(target=take)
    thread.start()
    assert not taken.is_set()
    budget.give_pixels(500)
    thread.join(10)
    assert taken.is_set()
    assert budget.held == 10


def test_waiting_for_pixels_ends_when_the_agent_does() -> None:
    budget = Budget(frames=4, limit=100)
    abandon = Event()
    abandon.set()
    assert budget.take_pixels(60, abandon)
    assert not budget.take_pixels(60, abandon)
