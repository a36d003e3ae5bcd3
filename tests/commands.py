"""`goodpart` as its users type it: each command in a process of its own, which has its libraries already.

To load them takes most of the seconds that a command needs, so a server has them, and forks. A `fresh` process has
nothing, as a user's: what a command needs and does not import is missing only there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from unittest.mock import patch

from agent.cli import COMMANDS, main

PATIENCE_S = 120
NOTHING: Mapping[str, str] = {}
SPAWNING, FORKING = get_context("spawn"), get_context("forkserver")
FORKING.set_forkserver_preload(
    [
        *sorted({f"agent.cli.{where.partition(':')[0]}" for where, *_ in COMMANDS.values()}),
        *("model.engines", "timm", "dashboard.serve", "pandas", "altair"),
    ]
)


def goodpart(
    *words: str, folder: Path, ok: bool = True, environ: Mapping[str, str] = NOTHING, typed: str = "",
    fresh: bool = False,
) -> str:  # fmt: skip
    """Runs the command in `folder`; returns what it printed, or with `ok=False` its errors too. Never a traceback."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GOODPART_")}
    with TemporaryDirectory() as name:
        files = [Path(name) / one for one in ("typed", "stdout", "stderr")]
        files[0].write_text(typed)
        process = start(words, folder, {**clean, "COLUMNS": "200", **environ}, files, fresh=fresh)
        process.join(PATIENCE_S)
        if process.exitcode is None:
            process.kill()
            process.join()
        code, said = process.exitcode, [one.read_text() for one in files[1:]]
        process.close()
    assert "Traceback" not in "".join(said), "".join(said)
    assert (code == 0) == ok, (code, said)
    return said[0] if ok else "".join(said)


def start(
    words: Sequence[str], folder: Path, environ: Mapping[str, str], files: Sequence[Path | str], *, fresh: bool
) -> BaseProcess:
    """Starts the command; its standard input, output and errors are these files."""
    process = (SPAWNING if fresh else FORKING).Process(target=_run, args=(words, folder, environ, files))
    # It would run the main module's file again: pytest's, or a page that Streamlit's AppTest has put in its place.
    with patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
        process.start()
    return process


def _run(words: Sequence[str], folder: Path, environ: Mapping[str, str], files: Sequence[Path | str]) -> None:
    for number, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    sys.stdin = os.fdopen(0, closefd=False)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = ["goodpart", *words]
    main()
