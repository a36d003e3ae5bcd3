"""Real parts that a test needs: what a person's machine may lack, and continuous integration may not."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, NoReturn

import pytest

WHOLE = "GOODPART_WHOLE"  # set: a part that is not here is a failure (.ci/run)


def missing(unproven: str) -> NoReturn:
    """Leaves the test out, or fails it where everything must be there.

    Args:
        unproven: which part is not here, and what stays unproven.
    """
    if os.environ.get(WHOLE):
        pytest.fail(f"{unproven}; {WHOLE} is set: it has to be here")
    pytest.skip(unproven)


def needed(name: str, unproven: str) -> Any:
    """The module of that name, which an extra brings; `missing` where it is not installed.

    Args:
        name: of the module.
        unproven: see `missing`.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError:
        missing(unproven)
