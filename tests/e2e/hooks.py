"""Whoever is told of alerts: a web server that takes Alertmanager's webhooks and keeps them."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

PATIENCE_S = 90.0


class Message(NamedTuple):
    """One message to one receiver: what it is of, whether it fires or is over, its alerts, and when it came."""

    receiver: str
    status: str
    alert: str
    surface: str
    alerts: tuple[dict[str, Any], ...]
    at_s: float


class Hooks:
    """A server on a free port; the path names the receiver. Mutable state: the messages, under one condition."""

    def __init__(self) -> None:
        self._came = threading.Condition()
        self._messages: list[Message] = []
        hooks = self

        class Posted(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name is http.server's
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hooks._take(self.path.strip("/"), told)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is http.server's
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Posted)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="hooks", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, receiver: str, told: dict[str, Any]) -> None:
        labels = told["groupLabels"]
        alert, surface = labels.get("alertname", ""), labels.get("surface", "")
        message = Message(receiver, told["status"], alert, surface, tuple(told["alerts"]), time.monotonic())
        with self._came:
            self._messages.append(message)
            self._came.notify_all()

    def to(self, receiver: str) -> list[Message]:
        """Return what a receiver was told, oldest first."""
        with self._came:
            return [message for message in self._messages if message.receiver == receiver]

    def wait(self, is_it: Callable[[Message], bool], what: str) -> Message:
        """Return the first message that `is_it`, once it has come; fail when none comes."""
        deadline = time.monotonic() + PATIENCE_S
        with self._came:
            while True:
                for message in self._messages:
                    if is_it(message):
                        return message
                left = deadline - time.monotonic()
                if left <= 0:
                    heard = [message[:4] for message in self._messages if message.receiver != "watchdog"]
                    raise AssertionError(f"nobody was told: {what}; told was {heard}")
                self._came.wait(left)
