"""What used a sample: snapshots, runs, versions, their children, deployments."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from agent.store import ancestry, epochs, lineage, registry, runs, samples, snapshots
from agent.store.engine import NotFound, writing
from agent.store.samples import NewSample, Sample
from agent.store.snapshots import Snapshot
from agent.store.tables import model_version
from tests.databases import NOW, Line, add_blob

pytestmark = pytest.mark.usefixtures("each_database")


def _add(here: Line, conn: Connection, number: int, role: str = "train") -> Sample:
    blob = add_blob(conn, number)
    epoch = epochs.of_import(conn, here.product_id, NOW).id if role == "calibration" else None
    return samples.add(conn, NewSample(here.product_id, role, "flagged", blob, blob, epoch_id=epoch), NOW)


def _freeze(here: Line, conn: Connection) -> Snapshot:
    return snapshots.freeze(conn, here.product_id, NOW, epoch_id=epochs.of_import(conn, here.product_id, NOW).id)


def _version(here: Line, conn: Connection, number: int, snapshot: Snapshot, parent: int | None = None) -> int:
    made = registry.add_version(
        conn, product_id=here.product_id, artifact_sha256=add_blob(conn, 900 + number), teacher="t", manifest={},
        snapshot_id=snapshot.id, now=NOW,
    )  # fmt: skip
    conn.execute(sa.update(model_version).where(model_version.c.id == made.id).values(parent_id=parent))
    return made.id


def _promote(conn: Connection, version_id: int) -> None:
    registry.promote(
        conn, version_id=version_id, certificate_id=None, config_hash="0" * 64, reason="r", by=None, now=NOW
    )


def _unclean(conn: Connection, here: Line) -> list[int]:
    live = registry.live(conn, here.product_id)
    assert live
    return ancestry.spoiled(conn, live.model_version_id)


def test_a_sample_is_traced_through_snapshots_and_parents(here: Line) -> None:
    with writing(here.engine) as conn:
        bad, other, calibrating = (
            _add(here, conn, n, role) for n, role in enumerate(["train", "train", "calibration"])
        )
        first = _freeze(here, conn)
        run = runs.open(conn, product_id=here.product_id, trigger="person", settings={}, now=NOW)
        runs.start(conn, run.id, first.id, NOW)
        one = _version(here, conn, 1, first)
        _promote(conn, one)
        assert lineage.of_sample(conn, bad.id).live == 1
        assert lineage.of_sample(conn, calibrating.id).live is None, "it taught nothing"
        assert _unclean(conn, here) == []
        samples.revoke(conn, bad.id, NOW)
        assert _unclean(conn, here) == [bad.id]
        clean = _freeze(here, conn)
        warm = _version(here, conn, 2, clean, parent=one)
        _version(here, conn, 3, clean, parent=warm)
        cold = _version(here, conn, 4, clean)
        _promote(conn, warm)
        found = lineage.of_sample(conn, bad.id)
        assert (found.snapshots, found.runs, found.live) == ((first.id,), (run.id,), 2)
        assert [(v.number, v.role, v.via) for v in found.versions] == [
            (1, "train", None),
            (2, "train", 1),
            (3, "train", 2),
        ]
        assert [(d.number, d.live_until) for d in found.deployments] == [(1, NOW), (2, None)]
        assert _unclean(conn, here) == [bad.id]
        again = NewSample(here.product_id, "defect", "flagged", bad.blob_sha256, bad.pixels_sha256)
        assert samples.add(conn, again, NOW).id == bad.id
        assert _unclean(conn, here) == [bad.id], "it came back as a defect, and is in the weights still"
        _promote(conn, cold)
        assert lineage.of_sample(conn, bad.id).live is None
        assert _unclean(conn, here) == []
        assert [v.number for v in lineage.of_sample(conn, other.id).versions] == [1, 2, 3, 4]
        roles = [(v.number, v.role) for v in lineage.of_sample(conn, calibrating.id).versions]
        assert roles == [(number, "calibration") for number in (1, 2, 3, 4)]
        with pytest.raises(NotFound):
            lineage.of_sample(conn, 99)


def test_a_sample_that_nothing_used(here: Line) -> None:
    with writing(here.engine) as conn:
        found = lineage.of_sample(conn, _add(here, conn, 1).id)
    assert (found.snapshots, found.runs, found.versions, found.deployments, found.live) == ((), (), (), (), None)
