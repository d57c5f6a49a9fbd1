"""What a client remembers of what it read: for one step of the windows, and longer where Redis is not to be had."""

import threading
from collections import OrderedDict
from typing import Any, Final

from stream_app.decisions.answer import Found
from stream_app.decisions.guard import Guard

MAX_WINDOWS: Final = 256
MAX_ENTITIES: Final = 10_000
"""Of one window. More are asked for again every time."""

Cells = dict[str, dict[str, Any] | None]
"""By entity, what its field says of each KPI; None for an entity that the snapshot does not have."""


class Window:
    """One window of one surface, as read at `read_s` (monotonic). Mutable state: entities read so far, and when."""

    __slots__ = ("cells", "found", "read_s")

    def __init__(self, found: Found, read_s: float) -> None:
        self.found = found
        self.read_s = read_s
        self.cells: Cells = {}

    def keep(self, cells: Cells) -> None:
        """Keep what was read of entities of this snapshot."""
        if len(self.cells) + len(cells) > MAX_ENTITIES:
            self.cells = {}
        self.cells |= cells


class Memory:
    """Bounded; shared by the threads of a process.

    Mutable state: the windows and guards last used, and until when Redis is left in peace.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._windows: OrderedDict[tuple[str, str], Window] = OrderedDict()
        self._guards: OrderedDict[str, tuple[Guard, float]] = OrderedDict()
        self._fault = ""
        self._quiet_until_s = 0.0

    def window(self, surface: str, name: str) -> Window | None:
        """Return what was last read of a window."""
        with self._lock:
            found = self._windows.get((surface, name))
            if found is not None:
                self._windows.move_to_end((surface, name))
            return found

    def keep_window(self, surface: str, name: str, window: Window) -> None:
        """Keep a window in place of the one before; the one not asked for the longest time makes room."""
        with self._lock:
            _keep(self._windows, (surface, name), window)

    def guard(self, surface: str) -> tuple[Guard, float] | None:
        """Return what was last read of a guard, and when."""
        with self._lock:
            return self._guards.get(surface)

    def keep_guard(self, surface: str, guard: Guard, read_s: float) -> None:
        """Keep a guard, bounded as windows are."""
        with self._lock:
            _keep(self._guards, surface, (guard, read_s))

    def fault(self, now_s: float) -> str:
        """Return why Redis is not asked at the moment; empty when it may be."""
        return self._fault if now_s < self._quiet_until_s else ""

    def rest(self, fault: str, until_s: float) -> None:
        """Leave Redis in peace for a while: who waits for it in vain must not do so at every question."""
        self._fault, self._quiet_until_s = fault, until_s


def _keep(kept: OrderedDict, key: object, value: object) -> None:  # type: ignore[type-arg]  # of either kind
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MAX_WINDOWS:
        kept.popitem(last=False)
