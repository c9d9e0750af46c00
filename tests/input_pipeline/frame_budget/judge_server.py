"""An OpenAI-compatible endpoint in a thread, which says what a test tells it to."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class JudgeServer:
    """url: for a spec. replies: what comes next, the last one again and again; each is a text to
    answer with, (status, headers, body), or a number of seconds to stay silent. requests: headers
    and JSON bodies so far. most_at_once: requests under way at the same time."""

    def __init__(self):
        self.replies: list = ["{}"]
        self.requests: list[tuple[Message, dict]] = []
        self.times: list[float] = []
        self.most_at_once = self._at_once = 0
        self.takes_s = 0.0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                outer._handle(self)

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def _handle(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            self.times.append(time.monotonic())
            self.requests.append((handler.headers, {"path": handler.path, **body}))
            reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        time.sleep(self.takes_s)
        with self._lock:
            self._at_once -= 1
        if isinstance(reply, float):
            time.sleep(reply)
            return
        if isinstance(reply, str):
            reply = 200, {}, json.dumps({"choices": [{"message": {"content": reply}}]})
        status, headers, text = reply
        with contextlib.suppress(OSError):  # the client has given up
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(text.encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def judge_server() -> Iterator[JudgeServer]:
    """A server that ends with the block. Proxies of the environment are not asked."""
    server = JudgeServer()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("no_proxy", "127.0.0.1")
            yield server
    finally:
        server.close()
