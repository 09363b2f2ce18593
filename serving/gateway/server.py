"""The gateway as a server on a socket."""

import signal
import socket
from collections.abc import Callable

import uvicorn

from llm_flywheel.components.common.errors import FlywheelError
from llm_flywheel.serving.gateway.app import Gateway


class Server(uvicorn.Server):
    """uvicorn that says when it accepts requests, and whose stop on a signal is a success."""

    def __init__(self, app: Gateway, drain_timeout_s: float, on_ready: Callable[[], None] = lambda: None) -> None:
        self._on_ready = on_ready
        super().__init__(
            uvicorn.Config(
                app,
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=max(1, round(drain_timeout_s)),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept, then report."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def serve_until_signal(self, listening: socket.socket) -> None:
        """Serve on ``listening`` until SIGTERM or SIGINT; requests in flight may end, then usage is flushed."""
        # uvicorn raises the signal again when it has stopped; by then it has been obeyed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        self.run([listening])


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 picks a free one.

    Raises:
        FlywheelError: The address is not free or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise FlywheelError(
            f"cannot listen: {error.strerror}", where=f"{host}:{port}", fix="choose another --port", reason="port"
        ) from None
    return listening
