"""`goodpart products teach`, called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.cli.common import Acting, CommandError
from agent.cli.teach import teach
from agent.retrain.errors import TooFewImages
from agent.store import items, products, teachings
from agent.store.engine import writing
from tests.databases import NOW, Line

Say = Callable[..., str]


@pytest.fixture
def say(here: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOODPART_DATABASE__URL", str(here.engine.url))

    def said(**given: Any) -> str:
        teach("disc", **given, acting=Acting(by="engineer"))
        return capsys.readouterr().out

    return said


def test_a_product_is_taught_and_what_is_odd_taken_out(here: Line, say: Say) -> None:
    begun = say(station="press-1", parts=60)
    assert "disc is taught from the next 60 parts of press-1" in begun and "82" in begun  # what 5 % needs
    assert "disc: 0 of 60 parts are collected" in say()
    with writing(here.engine) as conn:
        product = products.named(conn, "disc")
        made = [here.add_item(conn, n, kind="teach", product_id=product.id, serial=f"S{n}").id for n in range(3)]
        flagged = here.add_item(conn, 9).id
        teachings.move(conn, product.id, "looking", NOW, expected=("collecting",))
        teachings.record(conn, {item_id: float(n) for n, item_id in enumerate(made)})
    assert [one["part"] for one in json.loads(say(json=True))["items"]] == ["S2", "S1", "S0"]
    assert "now defect sample" in say(defect=made[2], reason="dent")
    assert json.loads(say(json=True))["collected"] == 2
    assert "is back" in say(undo=made[2])
    assert say().index("S2") < say().index("S0")
    with pytest.raises(CommandError, match="not one of those disc is taught from"):
        say(defect=flagged, reason="dent")
    assert "an agent trains disc" in say(train=True)
    assert "0 images are let go" not in say(cancel=True)
    assert "disc: cancelled" in say()
    assert here.item(flagged).state == "open" and isinstance(here.item(flagged), items.Item)


def test_what_is_asked_wrongly_changes_nothing(here: Line, say: Say) -> None:
    with pytest.raises(CommandError, match="give both"):
        say(station="press-1")
    with pytest.raises(CommandError, match="one thing at a time"):
        say(train=True, cancel=True)
    with pytest.raises(TooFewImages, match="too few"):
        say(station="press-1", parts=10)
    with writing(here.engine) as conn:
        assert products.find(conn, "disc") is None
        products.add(conn, "disc", now=NOW)
    with pytest.raises(CommandError, match="is not being taught"):
        say()
