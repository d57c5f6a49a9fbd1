"""The table of sources: by name, what turns one record of theirs into canonical events.

    adapted = ADAPTERS["segment"](record, pseudonym)      # one parsed JSON object
    adapted.events, adapted.refused                       # canonical events; (field, reason) of what was not taken

Every adapter is a pure function that never raises; docs/adapters.md says what it maps to what.
"""

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from producers.adapt_cloudevents import from_cloudevents
from producers.adapt_dsjson import from_dsjson
from producers.adapt_ga4 import from_ga4
from producers.adapt_open_bandit import from_open_bandit
from producers.adapt_personalize import from_personalize
from producers.adapt_retail import from_retail
from producers.adapt_segment import from_segment
from producers.adapt_snowplow import from_snowplow
from producers.foreign import Adapter
from stream_app.errors import LynceusError

ADAPTERS: Final[Mapping[str, Adapter]] = MappingProxyType(
    {
        "segment": from_segment,
        "rudderstack": from_segment,
        "snowplow": from_snowplow,
        "ga4": from_ga4,
        "aws-personalize": from_personalize,
        "google-retail": from_retail,
        "cloudevents": from_cloudevents,
        "dsjson": from_dsjson,
        "open-bandit": from_open_bandit,
    }
)


def named(source: str) -> Adapter:
    """Return the adapter of a source. Raises LynceusError with the nearest names for one that there is none for."""
    if source in ADAPTERS:
        return ADAPTERS[source]
    near = difflib.get_close_matches(source, ADAPTERS, n=3, cutoff=0.4)
    raise LynceusError(
        f"no adapter for {source!r}",
        f"Did you mean {' or '.join(near)}?" if near else f"There are {', '.join(ADAPTERS)}",
    )
