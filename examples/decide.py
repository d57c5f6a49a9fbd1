"""Decides what to show on a surface by what Lynceus knows: which policy earns most clicks, or the default.

    python examples/decide.py redis://127.0.0.1:6379/0 home default challenger

Prints one JSON object. It answers at once and always: with no Redis, no server and no data it says `default`.
"""

import json
import sys

from stream_app.decisions.client import Lynceus


def decide(lynceus: Lynceus, surface: str, default: str, others: list[str]) -> dict[str, str]:
    """Return the policy to use, and why."""
    guard = lynceus.guard(surface)
    if guard.is_degraded:
        return {"policy": default, "because": f"guard: {guard.reason}"}
    ctr = lynceus.get(kpi="ctr", surface=surface, window="1h", policies=[default, *others])
    if not ctr[default].is_ok:
        return {"policy": default, "because": f"{ctr[default].status}: {ctr[default].reason}"}
    # Better beyond chance: its lower bound is above the default's value.
    better = {name: ctr[name] for name in others if ctr[name].is_ok and ctr[name].lower > ctr[default].value}
    if not better:
        return {"policy": default, "because": "nothing is better beyond chance"}
    best = max(better, key=lambda name: better[name].value)
    return {"policy": best, "because": f"CTR {better[best].value:.2%} against {ctr[default].value:.2%}"}


if __name__ == "__main__":
    url, surface, default, *others = sys.argv[1:]
    with Lynceus(url, max_age="2m") as lynceus:
        sys.stdout.write(json.dumps(decide(lynceus, surface, default, others)) + "\n")
