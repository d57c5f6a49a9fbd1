"""Letting a world happen: in real time to Kafka, or as fast as it can be written, as JSON lines.

A control file switches scenarios while the world runs: one phase a line, times counted from the moment it is read.
"""

import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Final

from producers import scenarios
from producers.publisher import Delivery, Publisher
from producers.scenarios import Schedule
from producers.transit import Record
from producers.world import World
from stream_app.errors import LynceusError

LOOK_EVERY_S: Final = 1.0
_WRITTEN_AT_ONCE: Final = 1_000


class Control:
    """The file that switches scenarios. Mutable state: when it was looked at, and how it was then."""

    def __init__(self, path: Path, world: World) -> None:
        self._path = path
        self._world = world
        self._begun = world.schedule
        self._looked_s = -LOOK_EVERY_S
        self._seen = ""

    def look(self, now_s: float) -> None:
        """Follow the file if it has changed; `now_s` is the time of the world. Without the file, nothing changes.

        An empty file takes back what it said before. Raises LynceusError when a line is no phase.
        """
        if now_s - self._looked_s < LOOK_EVERY_S:
            return
        self._looked_s = now_s
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        except (OSError, UnicodeDecodeError) as error:
            raise LynceusError(f"{self._path} cannot be read: {error}", "Write one scenario a line") from None
        if text != self._seen:
            self._seen = text
            self._world.schedule = self._begun + phases(text.splitlines(), int(now_s * 1000))


def phases(lines: Iterable[str], zero_ms: int) -> Schedule:
    """Return the phases that the lines name, their times counted from `zero_ms`; empty lines are passed over.

    Raises LynceusError when a line is no phase.
    """
    return tuple(scenarios.parse(line, zero_ms) for line in lines if line.strip())


def publish(
    records: Iterable[Record],
    publisher: Publisher,
    stop: threading.Event,
    *,
    control: Control | None = None,
    clock: Callable[[], float] = time.time,
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
) -> Delivery:
    """Send every record when its time has come, until `stop` is set; return what became of them so far.

    `clock` is in seconds since the epoch; `wait` waits for the event and says whether it is set. Raises
    LynceusError as `Publisher.send` does.
    """
    for record in records:
        early_s = record.at_ms / 1000 - clock()
        if wait(stop, early_s) if early_s > 0 else stop.is_set():
            break
        if control is not None:
            control.look(clock())
        publisher.send_raw(record.key, record.value)
    return publisher.delivery()


def write(records: Iterable[Record], out: IO[bytes], stop: threading.Event) -> int:
    """Write one value a line, as fast as possible, until `stop` is set; return how many.

    No value has a line feed, garbage neither, so a line is always a record.
    """
    lines: list[bytes] = []
    written = 0
    for record in records:
        lines.append(record.value)
        if len(lines) == _WRITTEN_AT_ONCE:
            out.write(b"\n".join(lines) + b"\n")
            written += len(lines)
            lines.clear()
            if stop.is_set():
                return written
    if lines:
        out.write(b"\n".join(lines) + b"\n")
    return written + len(lines)
