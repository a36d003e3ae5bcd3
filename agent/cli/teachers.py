"""`goodpart teachers`."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict

from agent.cli.common import Common, show


def teachers(*, json: bool = False, common: Common = Common()) -> None:
    """List the frozen encoders, and whether their weights are here. Example: goodpart teachers --json

    Args:
        json: print a JSON array.
    """
    from model.catalogue import catalogue

    listed = catalogue(common.settings().training.files)
    if json:
        rows = [{"name": one.name, "present": one.path is not None, **asdict(one)} for one in listed]
        print(json_module.dumps(rows, default=str, indent=2))
        return
    show(
        ["name", "here", "MB", "licence", "channels", "steps"],
        (
            (
                one.name, "damaged" if one.damaged else "yes" if one.path else "no", f"{one.megabytes:.1f}",
                one.licence, " ".join(map(str, one.channels)), one.steps,
            )
            for one in listed
        ),
        as_json=False,
    )  # fmt: skip
    print()
    for one in listed:  # below the table, whole: addresses and paths are there to be copied
        print(f"{one.name}: {one.path or one.advice}")
    print("timm:NAME: any encoder of timm's with levels at strides 4, 8 and 16, its weights in a file of yours")
    print("A ResNet's file is downloaded at its first use where it is missing and there is a network.")
    print("Files of yours are named in training.weights, by teacher, or with --weights.")
    print("All were trained on ImageNet, whose own terms may bear on their use.")
