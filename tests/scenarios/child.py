"""A child of an agent (a training run, a quarantine check) that goes by the plant's clock."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from agent import settings

BEHIND = "SCENARIO_BEHIND_S"  # seconds; set by tests.scenarios.clock


def main(arguments: Sequence[str]) -> int:
    """As the product's own children do."""
    behind = timedelta(seconds=float(os.environ[BEHIND]))
    settings.utc_now = lambda: datetime.now(UTC) - behind
    from agent.retrain import checking, job  # they take the clock at import

    main = job.main if "--run" in arguments else checking.main
    return int(main(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
