"""What the server writes for decisions and clients read: names of keys, spelling of entities. Version 1.

    {prefix}:v1:{surface}:win:{window}:current   STRING  end of the newest snapshot, ms UTC; swapped last
    {prefix}:v1:{surface}:win:{window}:{end}     HASH    @meta -> JSON; entity -> JSON {kpi: [n, x, p, lo, hi] or null}
    {prefix}:v1:{surface}:guard                  STRING  JSON {status, reason, cause, since_ms, at_ms}

A snapshot never changes once its end is the current one. Another meaning gets another version, in the names of the
keys: an old client finds nothing rather than something else. docs/decisions.md is the contract in full.
"""

from collections.abc import Mapping
from typing import Final

VERSION: Final = 1
STEP_S: Final = 10.0
"""How often a window advances while events come in."""
META: Final = "@meta"
WHOLE: Final = "all"
"""The entity of a surface as a whole."""
COUNTED: Final = ("arm", "policy", "segment", "channel", "device")
"""The dimensions by whose values, and pairs of values, a surface is told."""
ITEM: Final = "item"
"""A dimension that one may ask for and nobody counts: its entities are always unknown."""


def pointer_key(prefix: str, surface: str, window: str) -> str:
    """Return the key under which the end of the newest snapshot stands."""
    return f"{prefix}:v{VERSION}:{surface}:win:{window}:current"


def snapshot_key(prefix: str, surface: str, window: str, end_ms: int) -> str:
    """Return the key of the snapshot of the window that ended at `end_ms`."""
    return f"{prefix}:v{VERSION}:{surface}:win:{window}:{end_ms}"


def guard_key(prefix: str, surface: str) -> str:
    """Return the key of a surface's guard."""
    return f"{prefix}:v{VERSION}:{surface}:guard"


def entity(values: Mapping[str, str]) -> str:
    """Return how the part of a surface that has these values is spelt: `arm=personalized,segment=new`.

    Dimensions are in the order of COUNTED; `%`, `,` and `=` in a value are written %25, %2C, %3D.

    Raises ValueError for a dimension that does not exist.
    """
    order = (*COUNTED, ITEM)
    for dimension in values:
        if dimension not in order:
            raise ValueError(f"dimension {dimension!r} does not exist; there is {', '.join(order)}")
    return ",".join(f"{name}={_escaped(values[name])}" for name in order if name in values) or WHOLE


def _escaped(value: str) -> str:
    return value.replace("%", "%25").replace(",", "%2C").replace("=", "%3D")
