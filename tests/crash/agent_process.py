"""An agent as a process of its own, with the tests' scorer in place of torch: `python -m tests.crash.agent_process`.

Everything else is the product's own daemon; settings come from the environment.
"""

from __future__ import annotations

import os
import sys

from agent import daemon, settings
from agent.pipeline.provider import Deployed
from agent.store import registry
from agent.store.engine import open_engine, reading
from model.certificate import Certificate
from tests.streams import FakeProvider, FakeScorer


def main() -> int:
    """Runs the daemon with the live deployments over a fake scorer."""
    wanted = settings.load(None, os.environ)
    engine = open_engine(wanted.database.url)
    with reading(engine) as conn:
        live = registry.live_all(conn)
    engine.dispose()
    delay_s = float(os.environ.get("SCORING_DELAY_S", "0"))
    deployed = {
        product_id: Deployed(
            one.id,
            FakeScorer(artifact_sha256=one.artifact_sha256, delay_s=delay_s),
            Certificate.from_dict(one.certificate) if one.certificate else None,
        )
        for product_id, one in live.items()
    }
    code = daemon.run(wanted, wiring=daemon.Wiring(provider=FakeProvider(deployed), retrain=None))
    assert "torch" not in sys.modules
    return code


if __name__ == "__main__":
    sys.exit(main())
