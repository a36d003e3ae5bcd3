"""`goodpart dashboard`."""

from __future__ import annotations

import sys

from agent.cli.common import Common


def dashboard(*, common: Common = Common()) -> None:
    """Serve the dashboard on dashboard.host:dashboard.port until Ctrl-C."""
    from dashboard import serve

    common.database().dispose()
    settings = common.settings()
    print(f"dashboard: {settings.dashboard.origins[0]}", flush=True)
    sys.exit(serve.run(settings))
