"""The example of a decision, run as its first lines say."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import redis as redis_client

from tests.decisions.published import guard, now_ms, publish

ROOT = Path(__file__).parents[2]
GOOD = {"ctr": [10_000, 500, 0.05, 0.046, 0.054]}
DEFAULT = {"ctr": [10_000, 300, 0.03, 0.027, 0.033]}


def decided(url: str) -> Any:
    done = subprocess.run(
        [sys.executable, "examples/decide.py", url, "home", "default", "challenger"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    return json.loads(done.stdout)


def test_the_example_decides(redis_url: str, stored: "redis_client.Redis") -> None:
    """The better policy by its lower bound; the default while the guard is degraded, and where nothing is known."""
    nothing = decided(redis_url)["policy"]
    publish(stored, now_ms(), window="1h", cells={"policy=default": DEFAULT, "policy=challenger": GOOD})
    better = decided(redis_url)
    guard(stored, "degraded", "personalization dropped")
    degraded = decided(redis_url)
    assert ("default", {"policy": "challenger", "because": "CTR 5.00% against 3.00%"}) == (nothing, better)
    assert {"policy": "default", "because": "guard: personalization dropped"} == degraded


def test_the_example_decides_without_redis() -> None:
    """Where nobody listens there is an answer all the same."""
    assert "default" == decided("redis://127.0.0.1:1/0")["policy"]
