"""Segment and RudderStack: tracking calls of their e-commerce specification."""

from collections.abc import Iterator
from typing import Any

from producers.foreign import Pseudonym, Refused, UnfitError, adapting
from stream_app.core.events import Event


@adapting
def from_segment(record: dict[str, Any], pseudonym: Pseudonym) -> Iterator[Event | Refused]:
    """Yield what one call says: `track`, `page`, `screen`."""
    del record, pseudonym
    raise UnfitError("event", "not mapped yet")
    yield
