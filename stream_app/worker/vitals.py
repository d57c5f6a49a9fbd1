"""The worker's own /metrics, /livez and /readyz, in a thread beside Faust: alive before there is anything to count.

Faust's web server would listen on all interfaces and serve table values; it stays off.
"""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

from prometheus_client.exposition import choose_encoder

from stream_app.errors import LynceusError
from stream_app.worker.instruments import Instruments


class _Handler(BaseHTTPRequestHandler):
    instruments: ClassVar[Instruments]
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_GET(self) -> None:  # the name is http.server's
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, kind, encode(self.instruments.registry))
        elif path == "/livez":
            self._answer(200, "text/plain; charset=utf-8", b"alive\n")
        elif path == "/readyz":
            reason = self.instruments.unready_because()
            self._answer(503 if reason else 200, "text/plain; charset=utf-8", (reason or "ready").encode() + b"\n")
        else:
            self._answer(404, "text/plain; charset=utf-8", b"not found: /metrics /livez /readyz\n")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
        """Say nothing: requests are not worth a line each."""


class Vitals:
    """A small HTTP server in a daemon thread. Mutable state: the server, from `start` to `stop`."""

    def __init__(self, instruments: Instruments, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._handler = type("Handler", (_Handler,), {"instruments": instruments})
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> int:
        """Listen and answer; return the port. Raises LynceusError when the address cannot be had."""
        try:
            self._server = ThreadingHTTPServer((self._host, self._port), self._handler)
        except OSError as error:
            raise LynceusError(
                f"cannot listen on {self._host}:{self._port} for /metrics: {error.strerror}",
                "Choose another port with LYNCEUS_WORKER__METRICS_PORT (0 for any)",
            ) from None
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="vitals", daemon=True).start()
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
