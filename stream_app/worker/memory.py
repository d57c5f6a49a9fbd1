"""Memory of this process: how much is resident, and what that calls for.

What is remembered must not depend on it, for every count is a function of the log alone. So there are three answers
only: give back what is kept for nothing; fetch less ahead; and, before the kernel ends the process without asking,
leave in order and let another take over.
"""

import ctypes
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

SCARCE_FROM, SCARCE_UNTIL, OVER_FROM = 0.90, 0.85, 0.97
"""Shares of the cap. The last of it is left for the way out."""
_STATM: Final = Path("/proc/self/statm")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)


class Memory(Enum):
    """What is to be done."""

    ENOUGH = "enough"
    SCARCE = "scarce"
    OVER = "over"


def resident_bytes() -> int:
    """Return the resident set of this process; 0 where the system does not tell."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def judge(resident: int, cap: int, before: Memory) -> Memory:
    """Return what `resident` of `cap` bytes call for; scarcity ends a little below where it began."""
    if resident >= cap * OVER_FROM:
        return Memory.OVER
    bound = SCARCE_FROM if before is Memory.ENOUGH else SCARCE_UNTIL
    return Memory.SCARCE if resident >= cap * bound else Memory.ENOUGH


def give_back() -> None:
    """Have the C library return its free pages to the system; nothing where it is not GNU's.

    What a checkpoint takes for a moment lies between what lives for hours, so by itself it returns next to nothing of
    it: under load a sixth of the process.
    """
    if _TRIM is not None:
        _TRIM(0)


def look(
    cap: int,
    before: Memory,
    resident: Callable[[], int] = resident_bytes,
    give_back: Callable[[], None] = give_back,
) -> tuple[int, Memory]:
    """Return what is resident of `cap` bytes and what that calls for, once nothing is kept for nothing."""
    held = resident()
    if judge(held, cap, before) is not Memory.ENOUGH:
        give_back()
        held = resident()
    return held, judge(held, cap, before)
