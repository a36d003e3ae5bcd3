"""`goodpart doctor`."""

from __future__ import annotations

import json as json_module
import sys
from dataclasses import asdict

from agent.cli import checks
from agent.cli.common import Common, console
from agent.settings import SettingsError


def doctor(*, json: bool = False, common: Common = Common()) -> None:
    """Check all that the agent needs, one line each, with the fix for what fails; exit status 1 if the line cannot run.

    Args:
        json: print one JSON list.
    """
    try:
        settings = common.settings()
    except SettingsError as error:
        findings = [checks.Finding("settings", False, str(error), "mend the setting")]
    else:
        findings = [checks.configuration(common.path), *(check(settings) for check in checks.CHECKS)]
    if json:
        print(json_module.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            _line(finding)
    sys.exit(any(finding.needed and not finding.ok for finding in findings))


def _line(finding: checks.Finding) -> None:
    mark = "[green]ok[/]     " if finding.ok else "[red]fails[/]  " if finding.needed else "[yellow]missing[/]"
    console.print(f"{mark} {finding.name:9} ", end="")
    console.print(
        finding.found + (f"; fix: {finding.fix}" if finding.fix else ""), markup=False, highlight=False, soft_wrap=True
    )
