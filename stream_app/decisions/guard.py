"""The guard of a surface: whether personalization may go on there, as the watch last said."""

import json
from dataclasses import dataclass
from typing import Final, Literal

Word = Literal["ok", "degraded", "unknown"]


@dataclass(frozen=True, slots=True)
class Guard:
    """`status` is ok, degraded or unknown; the rest says why, since when (event time) and when it was said (ms UTC).

    Unknown is what nobody says anything about: no watch, a surface it does not know, or a server that died.
    """

    status: Word
    reason: str
    cause: str | None = None
    since_ms: int | None = None
    at_ms: int | None = None

    @property
    def is_ok(self) -> bool:
        """Say whether the watch says that all is well; also False where it says nothing."""
        return self.status == "ok"

    @property
    def is_degraded(self) -> bool:
        """Say whether the watch says that personalization is broken: what a kill switch asks."""
        return self.status == "degraded"


UNTOLD: Final = Guard("unknown", "the watch says nothing of it")


def read(stored: bytes | str | None) -> Guard:
    """Return what is stored of a guard; one that cannot be read is unknown."""
    if stored is None:
        return UNTOLD
    try:
        told = json.loads(stored)
        word = told["status"]
    except (ValueError, TypeError, KeyError):
        return Guard("unknown", "what is stored of it cannot be read")
    status: Word = word if word in ("ok", "degraded") else "unknown"
    return Guard(
        status, str(told.get("reason") or ""), told.get("cause"), _time(told.get("since_ms")), _time(told.get("at_ms"))
    )


def _time(at_ms: object) -> int | None:
    return int(at_ms) if isinstance(at_ms, int | float) else None
