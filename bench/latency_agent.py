"""The product's own agent that also writes each recorded frame's latency: `python -m bench.latency_agent FILE`.

Settings come from the environment. A line of FILE is milliseconds from capture to after the commit.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from agent import daemon, settings
from agent.pipeline import run
from agent.pipeline.stats import Meter
from agent.store.offsets import Counts


def main() -> int:
    """Runs the daemon without the retraining loop."""
    with Path(sys.argv[1]).open("w", buffering=1) as file:

        class Written(Meter):
            def add(self, counts: Counts, flagged: int, latencies_ms: Iterable[float]) -> None:
                latencies = list(latencies_ms)
                super().add(counts, flagged, latencies)
                file.write("".join(f"{latency:.3f}\n" for latency in latencies))

        run.Meter = Written  # type: ignore[attr-defined]
        return daemon.run(settings.load(None, os.environ), wiring=daemon.Wiring(retrain=None))


if __name__ == "__main__":
    sys.exit(main())
