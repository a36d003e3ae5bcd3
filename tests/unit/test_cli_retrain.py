"""`goodpart retrain`: a training like that of an agent, so that each goes on from the other's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.cli import retrain as cli
from agent.cli.common import Acting
from agent.retrain import child, now
from agent.retrain.errors import Busy
from agent.settings import Retrain
from tests.databases import line


def test_a_training_at_a_terminal_gives_way_and_takes_as_many_threads_as_an_agents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nice, asked = list[int](), list[dict[str, Any]]()

    def train(*_: Any, **options: Any) -> None:
        asked.append(options)
        raise Busy("another one")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOODPART_REDIS__URL", "")
    monkeypatch.setattr("os.nice", nice.append)
    monkeypatch.setattr(now, "train_product", train)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    with line(tmp_path) as here:
        monkeypatch.setenv("GOODPART_DATABASE__URL", str(here.engine.url))
        with pytest.raises(Busy):
            cli.retrain(product="flange", acting=Acting(by="engineer"))
    assert nice == [Retrain().nice]
    assert asked[0]["threads"] == child.threads() == 4
