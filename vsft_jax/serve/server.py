"""The serve job: from a config to a server that listens, and until a signal its end in order."""

import signal
import socket
from types import FrameType
from typing import TYPE_CHECKING

import jax
from absl import logging

from input_pipeline.errors import UserError
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.serve.engine import Engine
from vsft_jax.serve.media import Allowed

if TYPE_CHECKING:
    import uvicorn

_LAST_ANSWERS_S = 60  # for what is under way when a signal comes


def serve(run: Run) -> None:
    """Answers requests with the workdir's newest checkpoint, or without one with the model of
    `config.model.path`, until SIGINT or SIGTERM; then what is under way is finished.

    Prints the address as soon as requests are answered. Raises ConfigError for an address or a
    folder that cannot be used, before the model is loaded, UserError where the packages of the
    server are missing, and what `load_model` raises.
    """
    try:
        import uvicorn

        from vsft_jax.serve.app import make_app
    except ModuleNotFoundError as error:
        raise UserError(
            f"--job=serve needs the package {error.name}: pip install uvicorn starlette"
        ) from error
    if jax.process_count() > 1:
        raise UserError("--job=serve answers from one process: leave out --distributed")
    allowed = Allowed.of(run)
    with _listening(run) as listening:
        engine = Engine(run)
        app = make_app(engine, run.config, allowed)
        settings = uvicorn.Config(
            app, log_config=None, access_log=False, timeout_graceful_shutdown=_LAST_ANSWERS_S
        )
        host, port = listening.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        files = f"files below {allowed.root}" if allowed.root else "no files"
        logging.info("media: data URLs, %s, hosts: %s", files, ", ".join(allowed.hosts) or "none")

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                print(f"{engine.name} answers at http://{shown}:{port}/v1", flush=True)

        _run_until_signal(Server(settings), listening)


def _listening(run: Run) -> socket.socket:
    """A socket that has the address, and listens as soon as the server runs."""
    host, port = run.config.serve.host, run.config.serve.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        raise ConfigError(
            f"config.serve.host = {host!r}, config.serve.port = {port}: {error.strerror}; "
            "port 0 takes any that is free"
        ) from error
    return found


def _run_until_signal(server: "uvicorn.Server", listening: socket.socket) -> None:
    """uvicorn ends in order on either signal, and sends it once more when it has: here, where that
    is the end that was wanted."""

    def ended(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, ended)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        logging.info("the server has ended")
    finally:
        signal.signal(signal.SIGTERM, before)
