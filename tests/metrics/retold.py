"""What is delivered, read again as plain JSON: the part of a recount that all families share.

No code of the product is used here: ids are counted once, bots and garbage are left out, and what comes more than
340 s after newer events is late (the simulated world has none between 310 s and that).
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

Told = dict[str, Any]
Place = tuple[str, str]
"""Surface and arm."""
LATE_MS = 340_000


def told(values: Iterable[bytes]) -> list[Told]:
    """Return the events that count, in the order in which they arrive."""
    found, ids, newest = [], set(), 0
    for value in values:
        try:
            event = json.loads(value)
            is_event = not event["type"].startswith("x_") and event["ts"] > 10**12
        except (ValueError, TypeError):
            continue
        if not is_event or event["id"] in ids:
            continue
        ids.add(event["id"])
        if event["ts"] + LATE_MS <= newest:
            continue
        newest = max(newest, event["ts"])
        if not event.get("bot"):
            found.append(event)
    return found


def is_home(event: Told) -> bool:
    """Say whether money is in the reporting currency; what is in another one is never added to it."""
    return bool(event.get("currency", "EUR") == "EUR")


def place(event: Told) -> Place:
    """Return where an event counts."""
    return event.get("surface", "none"), event.get("arm", "none")


def grouped(events: Iterable[Told], key: Callable[[Told], Any], *types: str) -> list[list[Told]]:
    """Return the events of these types in groups of equal key, in the order of arrival."""
    groups: defaultdict[Any, list[Told]] = defaultdict(list)
    for event in events:
        if event["type"] in types:
            groups[key(event)].append(event)
    return list(groups.values())


def summed(parts: Iterable[tuple[Place, dict[str, int]]]) -> dict[Place, dict[str, int]]:
    """Return the sums of amounts by place, zeros left out."""
    total: defaultdict[Place, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for where, amounts in parts:
        for name, amount in amounts.items():
            total[where][name] += amount
    named = {where: {name: n for name, n in amounts.items() if n} for where, amounts in total.items()}
    return {where: amounts for where, amounts in named.items() if amounts}
