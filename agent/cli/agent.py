"""`goodpart agent`."""

from __future__ import annotations

import sys

from agent.cli.common import Common


def agent(*, common: Common = Common()) -> None:
    """Run the daemon until SIGTERM or Ctrl-C: it finishes what is in flight, commits and leaves."""
    from agent.daemon import run

    sys.exit(run(common.settings(), config_path=common.path))
