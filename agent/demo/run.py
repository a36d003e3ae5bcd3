"""The demo: a rendered (or given) product from images to reviewed decisions, on this machine, in one command."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from agent.demo import render
from agent.demo.broker import KafkaBroker, create_topics
from agent.demo.child import Child
from agent.demo.line import Line
from agent.demo.product import Bars, Say, prepare
from agent.demo.redis import RedisServer
from agent.demo.server import free_port
from agent.settings import FrameSource, Settings, environment, utc_now
from agent.sources import reach
from agent.store.engine import open_engine, upgrade
from model.images import ImageFolder, read_folder

STATIONS = ("station-1", "station-2")
PRODUCT = {"good": 320, "test_good": 160, "defects_per_kind": 12, "seed": 7}


class DemoError(Exception):
    """The demo cannot run as asked; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the demo was asked for."""

    images: Path | None = None  # MVTec layout; None: render one
    seconds: float | None = None  # None: until Ctrl-C
    rate: float = 4.0  # frames per second, both stations together
    dashboard: bool = True
    bootstrap: str | None = None  # None: the wheel's broker
    keep: Path | None = None  # folder for what the demo makes; None: one that is gone at exit
    every_s: float = 3.0  # seconds between two status lines


@contextmanager
def workplace(keep: Path | None) -> Iterator[Path]:
    """The demo's folder: the given one, which must be empty, or one that is gone at exit."""
    if keep is None:
        folder = Path(tempfile.mkdtemp(prefix="goodpart-demo-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        keep.mkdir(parents=True, exist_ok=True)
        empty = not any(keep.iterdir())
    except OSError as error:
        raise DemoError(f"{keep} cannot be used ({error.strerror}); give --keep another") from None
    if not empty:
        raise DemoError(f"{keep} is not an empty folder; give --keep another")
    yield keep.resolve()


def run(options: Options, settings: Settings, *, say: Say, bars: Bars) -> bool:
    """Runs the whole demo until Ctrl-C, or until its seconds are over.

    Args:
        options: what was asked for.
        settings: the user's settings; database, blobs, broker, Redis and ports are replaced by the demo's own.
        say: prints one line.
        bars: opens progress bars.

    Returns:
        Whether the books balance: the accounting identity holds, every published frame has exactly one decision.
    """
    began = monotonic()
    if options.bootstrap:
        reach.check(options.bootstrap)  # before minutes of training
    with ExitStack() as stack:
        folder = stack.enter_context(workplace(options.keep))
        settings = own(settings, folder)
        images = _images(options, folder, say=say, bars=bars)
        engine = open_engine(settings.database.url)
        upgrade(engine)
        product = prepare(engine, settings, images, STATIONS, say=say, bars=bars, clock=utc_now)
        settings = stack.enter_context(servers(options, settings, folder, say=say))
        create_topics(settings.kafka, {settings.kafka.frames_topic: 2, settings.kafka.decisions_topic: 1})
        line = stack.enter_context(started(options, settings, folder, say=say))
        return line.run(engine, product, STATIONS, began=began)


def own(settings: Settings, folder: Path) -> Settings:
    """The user's settings with the demo's own database, blobs, ports and an impatient retraining loop."""
    return settings.model_copy(
        update={
            "database": settings.database.model_copy(update={"url": f"sqlite:///{folder / 'goodpart.db'}"}),
            "blobs": settings.blobs.model_copy(update={"directory": folder / "blobs", "url": ""}),
            "source": FrameSource(),
            "agent": settings.agent.model_copy(update={"port": free_port()}),
            "kafka": settings.kafka.model_copy(update={"session_timeout_s": 6.0, "heartbeat_s": 2.0}),
            "retrain": settings.retrain.model_copy(
                update={
                    "check_every_s": 3.0,
                    "cooldown_s": 30.0,
                    "new_samples": 3,
                    "settle_s": 10.0,
                    "settle_most_s": 60.0,
                    "directory": folder / "retrain",
                }
            ),
            "samples": settings.samples.model_copy(update={"check_every_s": 10.0}),
        }
    )


def _images(options: Options, folder: Path, *, say: Say, bars: Bars) -> ImageFolder:
    if options.images is not None:
        return read_folder(options.images)
    say("rendering a machined flange: good parts, and seven kinds of defects with masks")
    with bars() as on_progress:
        render.render(folder / "flange", on_progress=on_progress, **PRODUCT)
    return read_folder(folder / "flange")


@contextmanager
def servers(options: Options, settings: Settings, folder: Path, *, say: Say) -> Iterator[Settings]:
    """A broker and a Redis server on 127.0.0.1 for as long as the block runs; yields the settings that use them."""
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(folder))
        say(f"redis: Valkey from a wheel at {redis.url}; its data is gone at exit")
        kafka: dict[str, object] = {}
        if options.bootstrap:
            bootstrap = options.bootstrap
            kafka["start_from"] = "latest"  # a topic of yours may hold frames of others
            say(f"broker: yours, at {bootstrap}")
        else:
            bootstrap = stack.enter_context(KafkaBroker(folder)).bootstrap
            kafka["security"] = "PLAINTEXT"
            say(f"broker: tansu, which speaks Kafka's protocol, at {bootstrap}; in memory, its data is gone at exit")
        kafka["bootstrap"] = bootstrap
        yield settings.model_copy(
            update={
                "kafka": settings.kafka.model_copy(update=kafka),
                "redis": settings.redis.model_copy(update={"url": redis.url}),
            }
        )


@contextmanager
def started(options: Options, settings: Settings, folder: Path, *, say: Say) -> Iterator[Line]:
    """The agent, and the dashboard if wanted, as children of this process."""
    environ = environment(settings)
    with ExitStack() as stack:
        children = [stack.enter_context(Child(["agent"], environ=environ, log=folder / "agent.log"))]
        if options.dashboard:
            children.append(stack.enter_context(Child(["dashboard"], environ=environ, log=folder / "dashboard.log")))
            say(f"dashboard: {settings.dashboard.origins[0]}")
        yield Line(settings, children, rate=options.rate, seconds=options.seconds, every_s=options.every_s, say=say)
