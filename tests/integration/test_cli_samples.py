"""Proposals, the bank and lineage as people type them."""

from __future__ import annotations

import json
from pathlib import Path

from agent.settings import utc_now
from agent.store import products, registry, samples, snapshots, users
from agent.store.engine import open_engine, upgrade, writing
from agent.store.samples import NewSample
from tests.commands import goodpart
from tests.databases import add_blob


def test_a_poisoned_sample_from_its_proposal_to_the_clean_retraining(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'goodpart.db'}")
    upgrade(engine)
    with writing(engine) as conn:
        ada, olga = (users.add(conn, name, role, utc_now()) for name, role in (("ada", "admin"), ("olga", "operator")))
        product = products.add(conn, "flange", now=utc_now())
        train, defect = (
            samples.add(
                conn,
                NewSample(product.id, role, "flagged", add_blob(conn, at), f"{at:064}", added_by=olga.id, state=state),
                utc_now(),
            ).id
            for at, (role, state) in enumerate((("train", "quarantined"), ("defect", "accepted")))
        )

    def run(*words: str, ok: bool = True, by: str = "ada") -> str:
        return goodpart(*words, "--as", by, folder=tmp_path, ok=ok)

    (held,) = json.loads(
        goodpart("samples", "list", "--product", "flange", "--state", "quarantined", "--json", folder=tmp_path)
    )
    assert (held["id"], held["by"], held["seen_by"]) == (train, "olga", "")
    assert "role engineer" in run("samples", "accept", str(train), by="olga", ok=False)
    run("samples", "accept", str(train))
    with writing(engine) as conn:
        version = registry.add_version(
            conn, product_id=product.id, artifact_sha256=add_blob(conn, 9), teacher="t", manifest={},
            snapshot_id=snapshots.freeze(conn, product.id, utc_now()).id, now=utc_now(),
        )  # fmt: skip
        registry.promote(
            conn, version_id=version.id, certificate_id=None, config_hash="0" * 64, reason="r", by=ada.id,
            now=utc_now(),
        )  # fmt: skip
    engine.dispose()
    traced = json.loads(goodpart("samples", "lineage", str(train), "--json", folder=tmp_path))
    assert (traced["live"], traced["versions"][0]["role"]) == (1, "train")
    assert "v1 learnt from it and is live" in goodpart("samples", "lineage", str(train), folder=tmp_path)
    said = run("samples", "revoke", str(train), "--reason", "poison")
    assert "v1 of them is live; train a clean one: goodpart retrain --product flange --cold" in said
    assert "bank confirm 1" in run("bank", "withdraw", str(defect), "--reason", "reflection", by="olga")
    (listed,) = json.loads(goodpart("bank", "list", "--product", "flange", "--json", folder=tmp_path))
    assert (listed["id"], listed["withdrawal"]) == (defect, 1)
    assert json.loads(run("bank", "confirm", "1", "--json"))["decision"] == "confirmed"
    assert "no defects yet" in goodpart("bank", "list", "--product", "flange", folder=tmp_path)
    (decided,) = json.loads(
        goodpart("bank", "withdrawals", "--product", "flange", "--decided", "--json", folder=tmp_path)
    )
    assert (decided["asked_by"], decided["decided_by"]) == ("olga", "ada")
    assert "is not a state" in goodpart(
        "samples", "list", "--product", "flange", "--state", "odd", folder=tmp_path, ok=False
    )


def test_a_candidate_is_rejected_with_a_reason(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'goodpart.db'}")
    upgrade(engine)
    with writing(engine) as conn:
        users.add(conn, "ada", "engineer", utc_now())
        product = products.add(conn, "flange", now=utc_now())
        registry.add_version(
            conn, product_id=product.id, artifact_sha256=add_blob(conn, 9), teacher="t", manifest={}, now=utc_now()
        )
    engine.dispose()
    asked = ("models", "reject", "1", "--product", "flange", "--reason", "slow", "--as", "ada")
    assert "flange v1 is rejected" in goodpart(*asked, folder=tmp_path)
    assert "not a candidate" in goodpart(*asked, folder=tmp_path, ok=False)
    (listed,) = json.loads(goodpart("models", "list", "--product", "flange", "--json", folder=tmp_path))
    assert (listed["state"], listed["reason"]) == ("rejected", "slow")
