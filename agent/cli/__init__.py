"""The `goodpart` command: one file a command group; each parses, calls what does the work, and prints.

Modules load only when their command runs, and torch only when it is needed, so that help is there at once.
"""

from __future__ import annotations

import sys
from errno import ENAMETOOLONG
from typing import NoReturn

from cyclopts import App

from agent import logs

OURS = {"agent", "model", "dashboard"}
COMMANDS = {  # name: where it is, what it does, an example
    "demo": ("demo:demo", "Train, inspect and review on this machine, in one command.", "demo --seconds 60"),
    "agent": (
        "agent:agent",
        "Run the daemon: inspect every frame of the stream, retrain when samples come in.",
        "agent",
    ),
    "dashboard": ("dashboard:dashboard", "Serve the pages for operators, engineers and quality managers.", "dashboard"),
    "words": ("words:words", "Translate the dashboard: begin a file of its words, or renew it.", "words words/de.po"),
    "camera": (
        "camera:camera",
        "Publish pictures as a camera would: a folder, a video, a live source.",
        "camera photos/ --station press-1",
    ),
    "train": (
        "train:train",
        "Train on a folder of good images, into a file.",
        "train photos/ --out flange.safetensors",
    ),
    "evaluate": (
        "evaluate:evaluate",
        "Measure a model file on labelled images.",
        "evaluate flange.safetensors photos/",
    ),
    "export": (
        "export:export",
        "Write a model as an ONNX or OpenVINO graph, checked against it.",
        "export flange.safetensors --out flange-openvino --format openvino --images photos/",
    ),
    "teachers": ("teachers:teachers", "List the frozen encoders, and whether their weights are here.", "teachers"),
    "retrain": ("retrain:app", "Train a challenger now, and let the gate decide.", "retrain --product flange"),
    "products": ("products:app", "List, add, change and teach products.", "products add flange"),
    "stations": ("stations:app", "List, add and change stations.", "stations add press-1 --product flange"),
    "alerts": ("alerts:app", "What somebody must look at, and who has seen it.", "alerts list"),
    "users": ("users:app", "List, add and change the people who act.", "users add kim --role operator"),
    "samples": ("samples:app", "The images that train and calibrate.", "samples import photos/ --product flange"),
    "bank": ("bank:app", "Confirmed defects that models must catch.", "bank list --product flange"),
    "epochs": (
        "epochs:app",
        "Spans of the stream that a product is calibrated for.",
        'epochs open flange --cause camera --reason "new lamp"',
    ),
    "rates": (
        "rates:rates",
        "How many defects escape, how many good parts are flagged.",
        "rates --product flange",
    ),
    "drift": ("drift:app", "Whether scores still look like those a product was certified on.", "drift list"),
    "items": ("items:app", "Keep the evidence of an item for good.", "items pin 17"),
    "blobs": ("blobs:app", "Check the evidence and artifacts, and sweep what nobody names.", "blobs check"),
    "models": ("models:app", "Versions, certificates and runs.", "models list --product flange"),
    "watch": ("watch:app", "A second model beside what decides: shadows and watches.", "watch list --product flange"),
    "replay": (
        "replay:replay",
        "Score recorded frames again and compare with what was decided.",
        "replay --from 2026-01-31 --to 2026-01-31 --station press-1",
    ),
    "dead-letters": (
        "dead_letters:app",
        "Frames nobody could inspect: list, publish again or discard them.",
        "dead-letters list --reason bad_header",
    ),
    "db": ("db:app", "Create, migrate and check the database.", "db upgrade"),
    "doctor": ("doctor:doctor", "Check all that the agent needs, with a fix for what fails.", "doctor"),
}

app = App(name="goodpart", help="Inspects every part on a production line; learns from good parts only.")
for _name, (_target, _help, _example) in COMMANDS.items():
    app.command(f"agent.cli.{_target}", name=_name, help=f"{_help}\n\nExample: goodpart {_example}")


def main() -> None:
    """Runs one command. A typed error of ours becomes one line and exit status 1; Ctrl-C becomes 130."""
    logs.configure("warning", "console")
    words = sys.argv[1:]
    for word in words:
        if not word.isascii() and any("\udc80" <= letter <= "\udcff" for letter in word):
            _fail(f"{word!a} is not UTF-8; write it so, or give the file another name")
    try:
        app(words)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if isinstance(error, OSError) and error.errno == ENAMETOOLONG:
            _fail(f"{error.filename}: {error.strerror}")
        if type(error).__module__.partition(".")[0] not in OURS:
            raise
        _fail(str(error))


def _fail(problem: str) -> NoReturn:
    print(f"goodpart: {problem}", file=sys.stderr)
    sys.exit(1)
