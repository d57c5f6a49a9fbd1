"""Writes a snapshot as docs/decisions.md describes it, by hand: the client must need nothing else."""

import json
import time
from typing import Any

import redis as redis_client

CELLS = {
    "all": {"ctr": [10_000, 300, 0.03, 0.027, 0.033], "relevance": [10_000, 5_000.0, 0.5, 0.49, 0.51]},
    "arm=personalized": {"ctr": [9_000, 279, 0.031, 0.028, 0.034]},
    "arm=holdout": {"ctr": [1_000, 21, 0.021, 0.014, 0.032]},
    "policy=new": {"ctr": [20, 1, 0.05, 0.009, 0.236]},
    "policy=silent": {"ctr": None},
}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def publish(
    client: "redis_client.Redis",
    end_ms: int,
    surface: str = "home",
    window: str = "5m",
    cells: dict[str, Any] = CELLS,
    because: tuple[str, ...] = (),
) -> None:
    """Write a snapshot that ends at `end_ms`, then the pointer to it."""
    meta = {"v": 1, "end_ms": end_ms, "complete": not because, "because": because, "maturity": {"ctr": 0.75}}
    fields = {"@meta": json.dumps(meta)} | {name: json.dumps(cell) for name, cell in cells.items()}
    client.hset(f"lynceus:v1:{surface}:win:{window}:{end_ms}", mapping=fields)
    client.set(f"lynceus:v1:{surface}:win:{window}:current", end_ms)


def guard(client: "redis_client.Redis", status: str, reason: str = "", surface: str = "home") -> None:
    """Write a guard."""
    told = {"status": status, "reason": reason, "cause": "drop", "since_ms": 1_000, "at_ms": 2_000}
    client.set(f"lynceus:v1:{surface}:guard", json.dumps(told))
