"""Plays the scenarios and prints one report: `python -m tests.scenarios [--data DIR]`, or `make scenarios`.

The report is what stdout takes; how far something long is goes to stderr.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import platform
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog
import torch

from agent.demo.broker import KafkaBroker
from model.images import read_folder
from tests import apache_kafka
from tests.postgresql import WHEEL, postgresql
from tests.scenarios import drift, poison
from tests.scenarios.parts import Flanges
from tests.scenarios.product import Wanted
from tests.scenarios.story import Broken, Story

PARTS = ("drift", "poison", "simulations", "quarantine")
FLANGE = {"good": 221, "defects": 63, "test_good": 60}  # of the generated product


def main() -> int:
    """Plays what was asked for; 1 where something did not come as promised."""
    options = _options()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(f"Scenarios, {datetime.now(UTC):%Y-%m-%d}, seed {options.seed}, {_machine()}")
    failed = []
    for name in options.only:
        for what, play in PLAYS[name](options):
            print(f"\n== {what}", flush=True)
            try:
                play()
            except Broken as error:
                failed.append(f"{what}: {error}")
            except Exception as error:  # what comes after it is told all the same
                traceback.print_exc()
                failed.append(f"{what}: {type(error).__name__}: {error}")
    print("\n" + "\n".join(["== all came as promised"] if not failed else [f"== NOT: {one}" for one in failed]))
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios", description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data", type=Path, help="folder of sets in MVTec layout, for poison and quarantine")
    parser.add_argument("--sets", nargs="+", help="some of them; all without this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, default=128, help="pixels of the models' input")
    parser.add_argument("--steps", type=int, default=50, help="of each training")
    parser.add_argument("--memory-share", default="1", help="of poison: 1 is the patch memory alone; 0 .. 1, or auto")
    parser.add_argument("--broker", choices=("wheel", "apache"), help="of drift; Apache Kafka where it is there")
    parser.add_argument(
        "--databases", nargs="+", choices=("sqlite", "postgresql"), help="of drift; both where they are"
    )
    parser.add_argument("--results", type=Path, default=Path("bench/out/scenarios"), help="sets played, not again")
    options = parser.parse_args()
    if options.sets and not options.data:
        parser.error("--sets needs --data, the folder that they are in")
    return options


Plays = Iterator[tuple[str, Callable[[], None]]]


def _drift(options: argparse.Namespace) -> Plays:
    broker = options.broker or ("apache" if apache_kafka.is_here() else "wheel")
    here = importlib.util.find_spec(WHEEL) is not None
    for database in options.databases or (("sqlite", "postgresql") if here else ("sqlite",)):

        def play(database: str = database) -> None:
            size = drift.Size(side=options.side, steps=options.steps)
            with _broker(broker) as bootstrap, _database(database) as (folder, url):
                drift.play(folder, bootstrap, url, seed=options.seed, size=size, story=Story())

        names = {"apache": "Apache Kafka", "wheel": "tansu, a broker of Kafka's protocol", "sqlite": "SQLite",
                 "postgresql": "PostgreSQL"}  # fmt: skip
        yield f"Drift, on {names[broker]} and {names[database]}", play


@contextmanager
def _broker(kind: str) -> Iterator[str]:
    if kind == "apache":
        with apache_kafka.apache_kafka() as apache:
            yield apache.bootstrap
    else:
        with KafkaBroker() as wheel:
            yield wheel.bootstrap


@contextmanager
def _database(kind: str) -> Iterator[tuple[Path, str]]:
    with tempfile.TemporaryDirectory(prefix="goodpart-scenario-", ignore_cleanup_errors=True) as name:
        if kind == "sqlite":
            yield Path(name), f"sqlite:///{name}/goodpart.db"
        else:
            with postgresql() as server:
                server.execute("CREATE DATABASE scenario")
                yield Path(name), server.url("scenario")


def _poison(options: argparse.Namespace) -> Plays:
    share = options.memory_share if options.memory_share == "auto" else float(options.memory_share)
    wanted = Wanted(seed=options.seed, side=options.side, steps=options.steps, memory_share=share)
    options.results.mkdir(parents=True, exist_ok=True)
    for name in _sets(options) or [""]:

        def play(name: str = name) -> None:
            if name:
                poison.play(name, read_folder(options.data / name), options.results, wanted, Story())
                return
            with tempfile.TemporaryDirectory() as folder:
                images = Flanges(options.seed).folder(Path(folder) / "flange", **FLANGE)
                poison.play("flange", read_folder(images), options.results, wanted, Story())

        yield f"Poison, {name or 'the generated product'}", play


def _simulations(options: argparse.Namespace) -> Plays:
    yield "Simulated streams", lambda: _module("tests.simulations")


def _quarantine(options: argparse.Namespace) -> Plays:
    sets = _sets(options)
    given = ["--data", str(options.data), "--sets", *sets, "--steps", str(options.steps)]
    if sets:
        yield "The quarantine of proposals", lambda: _module("bench.quarantine", *given)
    else:
        yield "The quarantine of proposals is left out: give --data", lambda: None


def _sets(options: argparse.Namespace) -> list[str]:
    found = [one.name for one in sorted(options.data.iterdir()) if (one / "train").is_dir()] if options.data else []
    return options.sets or found


def _module(name: str, *arguments: str) -> None:
    if code := subprocess.run([sys.executable, "-m", name, *arguments], check=False).returncode:
        raise Broken(f"python -m {name} ended with status {code}")


def _machine() -> str:
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    made = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{os.cpu_count()} cores ({platform.machine()}), {gpu}, {made}"


PLAYS: dict[str, Callable[[argparse.Namespace], Plays]] = {
    "drift": _drift, "poison": _poison, "simulations": _simulations, "quarantine": _quarantine,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
