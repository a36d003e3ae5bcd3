"""The `goodpart` command: one file a command group; each parses, calls what does the work, and prints.

Modules load only when their command runs, so that help is there at once.
"""

from __future__ import annotations

import sys

from cyclopts import App

OURS = {"agent", "model", "dashboard"}
COMMANDS = {
    "demo": ("demo:demo", "Train, inspect and review a rendered product on this machine, in one command."),
    "agent": ("agent:agent", "Run the daemon: inspect every frame of the stream, retrain when samples come in."),
    "dashboard": ("dashboard:dashboard", "Serve the pages for operators, engineers and quality managers."),
    "camera": ("camera:camera", "Publish a folder of images as a camera would."),
    "train": ("train:train", "Train a model on a folder of good images, into a file."),
    "evaluate": ("evaluate:evaluate", "Measure a model on a labelled folder: image and pixel AUROC."),
    "retrain": ("retrain:retrain", "Train a challenger for a product now, and let the gate decide."),
    "products": ("products:app", "List, add and change products."),
    "stations": ("stations:app", "List, add and change stations."),
    "users": ("users:app", "List, add and change the people who act."),
    "samples": ("samples:app", "List, import and revoke the images that train and calibrate."),
    "models": ("models:app", "List versions with their certificates and runs; promote and roll back."),
    "db": ("db:app", "Create, migrate and check the database."),
    "doctor": ("doctor:doctor", "Check configuration, database, broker, Redis, blobs, weights and device."),
}

app = App(name="goodpart", help="Inspects every part on a production line; learns from good parts only.")
for _name, (_target, _help) in COMMANDS.items():
    app.command(f"agent.cli.{_target}", name=_name, help=_help)


def main() -> None:
    """Runs one command. A typed error of ours becomes one line and exit status 1; Ctrl-C becomes 130."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in OURS:
            raise
        print(f"goodpart: {error}", file=sys.stderr)
        sys.exit(1)
