"""Every command with odd arguments, one at a time: it ends well or with one line, never with a traceback."""

from __future__ import annotations

import inspect
import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, get_args, get_type_hints

import cv2
import numpy as np
import pytest

from agent import logs
from agent.camera import Picture
from agent.cli import app, main
from agent.cli import camera as cli_camera
from agent.cli.common import Acting, Common, console
from agent.cli.inputs import InputOptions
from agent.demo.server import free_port
from agent.frame import Envelope, Record, parse, to_headers
from agent.store import alerts, dead_letters, stations
from agent.store.dead_letters import NewDeadLetter
from agent.store.engine import writing
from tests.databases import NOW, Line, line

HUGE = "9" * 20
WHOLE = ["-1", "0", HUGE, f"-{HUGE}", "[/x]"]
REAL = ["-1", "0", "nan", "inf", "1e-320", "1e308", "[/x]"]
TEXT = ["", "[/x]", "\x1b[2J", "x" * 5000, "\udcff"]
FILES = [*TEXT, "/dev/full/x"]
TIMES = ["0001-01-01", "0001-01-01T00:00+14:00", "9999-12-31", "9999-12-31T23:59:59-14:00", "2026-02-30", *TEXT]
NOBODY = ["", "[/x]"]
ODD: dict[Any, Sequence[str]] = {int: WHOLE, float: REAL, Path: FILES, bool: [""]}
GIVEN = {  # what a command needs, and may have so that it comes far
    "camera": ("photos", "--station=press-1", "--rate=1000", "--count=2", "--buffer=buffer"),
    "demo": ("--images=nowhere", "--no-dashboard"),
    "train": ("photos", "--out=m.safetensors"),
    "evaluate": ("m.safetensors", "photos"),
    "export": ("m.safetensors", "--out=exported", "--format=onnx", "--images=photos"),
    "words": ("de.po",),
    "retrain": ("--product=flange",),
    "retrain cancel": ("1", "--reason=r"),
    "products add": ("bracket",),
    "stations add": ("press-2",),
    "stations set": ("press-1", "--silent-after=60"),
    "products set": ("flange", "--review-rate=0.1"),
    "products teach": ("flange",),
    "alerts acknowledge": ("1",),
    "users add": ("kim", "--role=viewer"),
    "users set": ("viewer", "--role=operator"),
    "samples import": ("photos", "--product=flange"),
    "samples refuse": ("1", "--reason=r"),
    "samples revoke": ("1", "--reason=r"),
    "epochs open": ("flange", "--cause=camera", "--reason=r"),
    "models rollback": ("--product=flange", "--reason=r"),
    "watch end": ("1", "--reason=r"),
    "replay": ("--from=2026-03-01",),
    "dead-letters discard": ("1", "--because=b"),
    "dead-letters replay": ("1",),
    **{f"bank {name}": ("1",) for name in ("confirm", "refuse")},
    **{f"items {name}": ("1",) for name in ("pin", "unpin")},
    **{f"samples {name}": ("1",) for name in ("accept", "lineage")},
    **{f"{name} withdraw": ("1", "--reason=r") for name in ("bank", "samples")},
    **{f"models {name}": ("1", "--product=flange", "--reason=r") for name in ("promote", "recertify", "reject")},
    **{f"models {name}": ("1", "--product=flange") for name in ("calibration", "shadow")},
    **{f"{name} list": ("--product=flange",) for name in ("bank", "models", "samples", "watch", "drift")},
    **dict.fromkeys(("bank withdrawals", "models runs", "rates"), ("--product=flange",)),
    "epochs list": ("flange",),
    "products retire": ("flange",),
    **{f"stations {name}": ("press-1",) for name in ("retire", "relearn")},
    **{f"users {name}": ("viewer",) for name in ("password", "pin", "disable")},
}
SERVE = {"agent", "dashboard", "doctor"}  # these stay, or look for servers: only with settings that are not there


def commands(group: Any = app, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every command, and what runs it."""
    for name in group:
        if not name.startswith("-"):
            one = group[name]
            if one.default_command:
                yield f"{path}{name}", one.default_command
            yield from commands(one, f"{path}{name} ")


COMMANDS = dict(commands())


def options(command: Any) -> Iterator[tuple[str, Sequence[str]]]:
    """What may be said to it, `--NAME` or a place such as 0, and odd values of it."""
    hints, places = get_type_hints(command), count()
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if hint in (Common, Acting):
            yield from (("--config", NOBODY), ("--as", NOBODY))[: 1 + (hint is Acting)]
        elif hint is InputOptions:
            yield from ((f"--{name}", odd(kind)) for name, kind in get_type_hints(hint).items())
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            name = f"--{parameter.name.strip('_').replace('_', '-')}"
            yield name, TIMES if name in ("--from", "--to") else odd(hint)
        else:
            yield str(next(places)), odd(hint)


def odd(hint: Any) -> Sequence[str]:
    """Values of a type, or of the first of several."""
    kind = next(iter(get_args(hint)), hint)
    return ODD.get(kind, TEXT)


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    """A folder with a line, pictures, and nobody to connect to."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOODPART_KAFKA__BOOTSTRAP", f"127.0.0.1:{free_port()}")
    monkeypatch.setenv("USER", "admin")
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    monkeypatch.setattr(cli_camera, "FINISH_S", 0.0)
    monkeypatch.setattr("agent.retrain.child.give_way", lambda _: None)  # this process goes on
    (tmp_path / "photos" / "good").mkdir(parents=True)
    for number in range(3):
        cv2.imwrite(str(tmp_path / "photos" / "good" / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    with line(tmp_path) as here:
        yield here
    for number, handler in before.items():
        signal.signal(number, handler)


def ends(words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What is wrong with how the command ended; "" where nothing is."""
    monkeypatch.setattr(sys, "argv", ["goodpart", *words])
    monkeypatch.setattr(sys, "stdin", io.StringIO("a long password\n"))
    shown, code = [ascii(word[:40]) for word in words], 0
    try:
        main()
    except SystemExit as error:
        code = int(error.code or 0)
    except Exception as error:
        capsys.readouterr()
        return f"{shown}: {error!r}"
    said = capsys.readouterr()
    *_, last = ["", *said.err.splitlines()]
    usage = code == 2  # told in a box, by what reads the arguments
    well = code == 0 or usage or last.startswith("goodpart: ") or "; fix: " in said.out  # the last is the doctor
    return "" if well else f"{shown}: {code}, {last}"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_an_odd_argument_ends_in_good_order(
    name: str, plant: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = list(GIVEN.get(name, ()))
    tries = [] if name in SERVE else [given]
    for option, values in options(COMMANDS[name]):
        at = int(option) if option.isdigit() else len(given)
        kept = [*given[:at], *given[at + 1 :]] if option.isdigit() else given
        kept = [word for word in kept if not word.startswith(f"{option}=")]
        tries += [
            [*kept[:at], value, *kept[at:]] if option.isdigit() else [*kept, f"{option}={value}"] for value in values
        ]
    problems = [ends([*name.split(), *words], monkeypatch, capsys) for words in tries]
    assert [one for one in problems if one] == []


def test_lists_show_data_as_it_is_and_not_as_markup(
    plant: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "width", 300)
    names = ["cam[/2]", "press[left]", "[red]lamp", ":warning:"]
    with writing(plant.engine) as conn:
        for n, name in enumerate(names):
            stations.add(conn, name, now=NOW)
            letter = NewDeadLetter(plant.stream_id, 0, n, name, "bad_header", "x", [], "a" * 64, None, True, NOW)
            dead_letters.add_all(conn, [letter])
    for words in (("dead-letters", "list"), ("stations", "list")):
        monkeypatch.setattr(sys, "argv", ["goodpart", *words])
        with pytest.raises(SystemExit, match="0"):
            main()
        said = capsys.readouterr().out
        assert [name for name in names if name not in said] == []


def test_a_stations_status_is_the_worst_that_stands_about_it(
    plant: Line, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {"a": (), "b": ("sequence_gap",), "c": ("sequence_gap", "camera_black"), "d": ("station_silent",), "e": ()}
    with writing(plant.engine) as conn:
        for name, kinds in wrong.items():
            made = stations.add(conn, name, now=NOW)
            for kind in kinds:
                alerts.raise_(conn, kind, f"station:{name}", "x", level="error", detail={}, event=False, now=NOW)
        stations.set_status(conn, made.id, "blind", 20, NOW, NOW)
        alerts.raise_(conn, "flag_rate", "station:a product:p", "x", level="error", detail={}, event=False, now=NOW)
    monkeypatch.setattr(sys, "argv", ["goodpart", "stations", "list", "--json"])
    with pytest.raises(SystemExit, match="0"):
        main()
    found = {one["name"]: one["status"] for one in json.loads(capsys.readouterr().out)}
    assert {name: found[name] for name in wrong} == {
        "a": "ok", "b": "gaps", "c": "black", "d": "silent", "e": "blind",
    }  # fmt: skip


def test_a_picture_whose_name_is_no_text_is_published(plant: Line) -> None:
    file = Path(os.fsdecode(b"photos/part-\xe9.png"))
    Path("photos/good/0.png").rename(file)
    name = Picture.of(file).name
    assert name == "part-\N{REPLACEMENT CHARACTER}"
    sent = Envelope("id", "press-1", None, name, None, None, "image/png", None, None)
    record = Record(0, 0, NOW, None, tuple(to_headers(sent)), b"")
    assert parse(record, stream="s") == sent
