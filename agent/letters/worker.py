"""Does what pages ask of dead letters, on a thread of its own, one command after the other. Any number of agents may.

The lease `dead_letters` says who does it. Whoever takes it queues again what a dead agent left running; what that one
published is on record, and is not published again. While something is away, the command waits and says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Engine

from agent.camera.errors import CameraError, FrameTooLarge
from agent.letters import preview
from agent.letters.preview import NotShowable
from agent.letters.replay import Letters, NotReplayable, Outlet, open_outlet
from agent.retrain import holding
from agent.retrain.errors import Interrupted
from agent.retrain.holding import Holding
from agent.service import dead_letters as service
from agent.service.dead_letters import PREVIEW, REPLAY
from agent.service.ranks import Refused
from agent.settings import Settings
from agent.sources.base import SourceError
from agent.store import commands, dead_letters, users
from agent.store.blobs import BlobStore
from agent.store.commands import Command
from agent.store.engine import reading, writing
from agent.store.errors import NotFound, StoreError, Unreachable
from agent.store.leases import Lease
from agent.store.users import User

LEASE = "dead_letters"
KINDS = (PREVIEW, REPLAY)
LOOK_S = 1.0
AGAIN_S = 10.0  # after something was away
TELL_S = 1.0  # between two words on how far a replay is
PROBLEMS = 100  # of letters, kept with the command
PATIENCE = timedelta(hours=1)  # with what is away
MOST_TRIES = 3
AWAY = (CameraError, SourceError, Unreachable)

log = structlog.get_logger()
OpenOutlet = Callable[[Settings], AbstractContextManager[Outlet]]


@dataclass(slots=True)
class Came:
    """What came of a command so far, its result.

    Attributes:
        published: letters.
        refused: letters that cannot be published.
        left: letters that nobody has tried yet.
        problems: which letter was refused, and why.
        waits: for what, where it cannot go on now.
        problem: why it failed as a whole.
        tries: how often an agent began with it and was gone before it came to an end.
    """

    published: int = 0
    refused: int = 0
    left: int = 0
    problems: list[tuple[int, str]] = field(default_factory=list)
    waits: str = ""
    problem: str = ""
    tries: int = 0

    def refuse(self, letter_id: int, words: str) -> None:
        """One cannot be published."""
        self.refused += 1
        if len(self.problems) < PROBLEMS:
            self.problems.append((letter_id, words[:500]))


class Worker:
    """Looks for commands and does them.

    Args:
        engine: the database.
        store: has the kept bytes.
        settings: all of them.
        clock: the time.
        outlet: opens where frames go.
    """

    def __init__(
        self,
        engine: Engine,
        store: BlobStore,
        settings: Settings,
        *,
        clock: Callable[[], datetime],
        outlet: OpenOutlet = open_outlet,
    ) -> None:
        self._engine, self._store, self._settings, self._clock = engine, store, settings, clock
        self._outlet = outlet
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dead-letters", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def ask(self) -> None:
        """Asks it to end after the letter at hand; the command goes back into the queue."""
        self._stopping.set()

    def stop(self, timeout_s: float = 2.0) -> None:
        """As `ask`, and waits for it."""
        self.ask()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def turn(self) -> bool:
        """Does the next command, if there is one; False where something is away, so that it is tried again later."""
        try:
            with reading(self._engine) as conn:
                if not commands.waiting(conn, KINDS):
                    return True
            with writing(self._engine) as conn:
                lease = holding.acquire(conn, self._clock(), LEASE)
            return lease is None or self._next(lease)  # None: another agent is at it
        except Interrupted as error:  # whoever has the lease now goes on with it
            log.info("dead_letters_left", problem=str(error))
        except StoreError as error:
            log.warning("dead_letters_wait", problem=str(error)[:300])
        return False

    def _run(self) -> None:
        wait_s = LOOK_S
        while not self._stopping.wait(wait_s):
            try:
                wait_s = LOOK_S if self.turn() else AGAIN_S
            except Exception as error:  # whatever is wrong with a dead letter, frames are inspected
                log.error("dead_letters_failed", error=repr(error)[:300], exc_info=error)
                wait_s = AGAIN_S

    def _next(self, lease: Lease) -> bool:
        with Holding(self._engine, lease, self._clock) as held:
            with writing(self._engine) as conn:
                held.confirm(conn)
                commands.restart(conn, KINDS)
                # A picture does not wait for a broker that is away.
                request = commands.next(conn, [PREVIEW]) or commands.next(conn, [REPLAY])
                if request is None:
                    return True
                came = Came(tries=(request.result or {}).get("tries", 0) + 1)
                commands.tell(conn, request.id, asdict(came))
            return self._do(request, held, came)

    def _do(self, request: Command, held: Holding, came: Came) -> bool:
        try:
            if came.tries > MOST_TRIES:
                raise NotShowable(f"agents ended {MOST_TRIES} times in the middle of it; look at their logs")
            with reading(self._engine) as conn:
                actor = users.get(conn, request.by)
            service.require(self._engine, actor)
            if request.kind == PREVIEW:
                self._preview(request)
            else:
                self._replay(request, actor, held, came)
        except AWAY as error:
            came.waits = str(error)[:500]
            if self._clock() - request.created_at > PATIENCE:  # the others behind it go on, and its letters are free
                came.problem, came.waits = f"given up after {PATIENCE}: {came.waits}"[:500], ""
        except (Refused, NotFound, NotShowable) as error:
            came.problem = str(error)[:500]
        except Interrupted:
            raise
        except Exception as error:  # whatever a decoder or a client says, the next command is done
            log.error("dead_letters_failed", command=request.id, error=repr(error)[:300], exc_info=error)
            came.problem = repr(error)[:500]
        came.tries = 0
        with writing(self._engine) as conn:
            held.confirm(conn)
            if came.waits or (came.left and not came.problem):
                commands.tell(conn, request.id, asdict(came), again=True)
            else:
                failed = bool(came.problem)
                commands.finish(conn, request.id, failed=failed, result=asdict(came), now=self._clock())
        log.info("dead_letters_done", command=request.id, kind=request.kind, **asdict(came))
        return not came.waits

    def _preview(self, request: Command) -> None:
        with reading(self._engine) as conn:
            letter = dead_letters.get(conn, request.args["ids"][0])
        preview.show(self._engine, self._store, letter, self._settings.pipeline, self._clock())

    def _replay(self, request: Command, actor: User, held: Holding, came: Came) -> None:
        ids, told = request.args["ids"], time.monotonic()
        came.left = len(ids)
        letters = Letters(self._engine, self._store, self._settings)
        with self._outlet(self._settings) as outlet:
            for letter_id in ids:
                held.check()
                if self._stopping.is_set():
                    return
                self._publish(letters, outlet, actor, request, letter_id, came)
                came.left -= 1
                if time.monotonic() - told > TELL_S:
                    told = time.monotonic()
                    with writing(self._engine) as conn:
                        held.confirm(conn)
                        commands.tell(conn, request.id, asdict(came))

    def _publish(
        self, letters: Letters, outlet: Outlet, actor: User, request: Command, letter_id: int, came: Came
    ) -> None:
        try:
            with reading(self._engine) as conn:
                letter = dead_letters.get(conn, letter_id)
            if letter.state != "replayed":  # by whoever had the command before
                wanted = {name: request.args[name] for name in ("station", "product")}
                again = letters.prepare(letter, **wanted)
                letters.publish(again, outlet, actor, key=f"command-{request.id}-{letter_id}", clock=self._clock)
            came.published += 1
        except (NotReplayable, NotFound, FrameTooLarge) as error:
            came.refuse(letter_id, str(error))
