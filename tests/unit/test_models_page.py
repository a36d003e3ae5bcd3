"""The page Models: what it says of the version that decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from agent.live import NoLive
from agent.settings import Settings
from agent.store import registry, samples
from agent.store.engine import writing
from agent.store.samples import NewSample
from dashboard import context
from tests.databases import NOW, add_blob, line, sha


def _page() -> None:
    from dashboard.views import models

    models.show()


def test_a_sample_that_came_back_as_a_defect_is_still_in_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with line(tmp_path) as here:
        monkeypatch.setattr(context, "engine", lambda: here.engine)
        monkeypatch.setattr(context, "settings", Settings)
        monkeypatch.setattr(context, "live", NoLive)
        with writing(here.engine) as conn:
            add_blob(conn, 1)
            new = NewSample(here.product_id, "train", "flagged", sha(1), sha(1))
            learnt = samples.add(conn, new, NOW)
            frozen = samples.freeze(conn, here.product_id, NOW)
            version = registry.add_version(
                conn, product_id=here.product_id, artifact_sha256=add_blob(conn, 2), teacher="none", manifest={},
                snapshot_id=frozen.id, now=NOW,
            )  # fmt: skip
            registry.promote(
                conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=NOW
            )
            samples.revoke(conn, learnt.id, NOW)
            samples.add(conn, replace(new, role="defect", reason="blot"), NOW)
            # Its audit window is not decided yet: no run would take it.
            samples.add(conn, NewSample(here.product_id, "calibration", "audit", add_blob(conn, 3), sha(3)), NOW)
        page = AppTest.from_function(_page, default_timeout=30)
        page.session_state["actor"] = here.engineer
        page.run()
        assert not page.exception, page.exception
        told = [one.value for one in page.warning]
        assert any(f"v1 learnt from 1 samples that are good normals no more ({learnt.id})" in one for one in told), told
        counted = {one.label: one.value for one in page.metric if one.label.endswith("samples")}
        assert counted == {"train samples": "0", "calibration samples": "0", "holdout samples": "0",
                           "defect samples": "1"}  # fmt: skip
