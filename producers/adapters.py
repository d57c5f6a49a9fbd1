"""The table of sources: by name, what turns one record of theirs into canonical events.

    adapted = ADAPTERS["segment"](record, pseudonym)      # one parsed JSON object
    adapted.events, adapted.refused                       # canonical events; (field, reason) of what was not taken

Every adapter is a pure function that never raises; docs/adapters.md says what it maps to what.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from producers.adapt_segment import from_segment
from producers.foreign import Adapter
from stream_app.errors import LynceusError

ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType({"segment": from_segment})


def named(source: str) -> Adapter:
    """Return the adapter of a source. Raises LynceusError with the nearest names for one that there is none for."""
    if source in ADAPTERS:
        return ADAPTERS[source]
    near = difflib.get_close_matches(source, ADAPTERS, n=3, cutoff=0.4)
    raise LynceusError(
        f"no adapter for {source!r}",
        f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(ADAPTERS)}",
    )
