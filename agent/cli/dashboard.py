"""`goodpart dashboard`."""

from __future__ import annotations

import sys

from agent.cli.common import Common


def dashboard(*, common: Common = Common()) -> None:
    """Serve the dashboard on dashboard.host:dashboard.port until Ctrl-C."""
    from dashboard import serve

    common.database().dispose()
    settings = common.settings()
    print(f"dashboard: http://{settings.dashboard.host}:{settings.dashboard.port}", flush=True)
    sys.exit(serve.run(settings))
