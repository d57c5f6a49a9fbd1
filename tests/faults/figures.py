"""What a measurement came to: the figures, which requirement they meet, and whether the counts were exact."""

import os
import platform
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any, NamedTuple

import psutil

from tests.fleet import Stored
from tests.recount import known


class Figures(NamedTuple):
    """`told` is printed line by line; every claim in `met` must hold."""

    setting: str
    told: dict[str, str]
    met: dict[str, bool]

    @property
    def is_met(self) -> bool:
        """Whether every requirement is met."""
        return all(self.met.values())

    def __str__(self) -> str:
        lines = [f"  {self.setting}", *(f"  {name}: {value}" for name, value in self.told.items())]
        lines.append("  " + "; ".join(f"{claim}: {'yes' if holds else 'NO'}" for claim, holds in self.met.items()))
        return "\n".join(lines)


def machine() -> str:
    """Describe the machine, and how busy it was before."""
    gigabytes = psutil.virtual_memory().total / 2**30
    return (
        f"{os.cpu_count()} cores shared with Kafka, Redis and the load, {gigabytes:.0f} GB, "
        f"Python {platform.python_version()}, load average before {os.getloadavg()[0]:.1f}"
    )


def spread(seconds: Sequence[float]) -> str:
    """Say median, 95th percentile (nearest rank) and maximum."""
    ordered = sorted(seconds)
    p95 = ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]
    return f"median {median(ordered):.2f}, p95 {p95:.2f}, max {ordered[-1]:.2f}"


def difference(stored: Stored, totals: dict[Any, dict[str, int]], outcomes: Counter[str]) -> str:
    """Say whether the stored totals by surface and arm, and the outcomes, are the expected ones."""
    counted = known(stored.totals())
    if counted == totals and stored.outcomes() == outcomes:
        return "all totals exact"
    wrong = [key for key in counted.keys() | totals.keys() if counted.get(key) != totals.get(key)]
    return f"WRONG: {dict(stored.outcomes())} for {dict(outcomes)}; {wrong[:3]}"


def high_water_mb(pid: int) -> float:
    """Return the largest resident set that a process has had so far, in MB (Linux)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        kilobytes = next(line for line in status if line.startswith("VmHWM")).split()[1]
    return int(kilobytes) / 1024
