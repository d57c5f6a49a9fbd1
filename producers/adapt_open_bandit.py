"""The Open Bandit Dataset, a row at a time: what `open_bandit` reads from whole files, as an adapter.

A record is a row of `<campaign>-<policy>.csv` by column, with `campaign` and `policy` as the file's name has them and
`row`, its number from 0: https://arxiv.org/abs/2008.07146. The events are the same, with the same ids, as those of
`lynceus replay`, at the time of the source.
"""

from collections.abc import Iterator
from typing import Any, Final

from producers.fields import MAX_POSITION, Fields
from producers.foreign import Pseudonym, adapting
from producers.open_bandit import Row, events_of
from stream_app.core.events import Event

_MAX_ROWS: Final = 10**12
_MAX_NAME: Final = 20


@adapting
def from_open_bandit(record: dict[str, Any], pseudonym: Pseudonym) -> Iterator[Event]:
    """Yield the impression of a row, and its click if there was one."""
    del pseudonym  # nobody is named
    fields = Fields(record)
    names = [fields.text(name) or "" for name in ("campaign", "policy")]
    for field, name in zip(("campaign", "policy"), names, strict=True):
        if not 1 <= len(name) <= _MAX_NAME:
            raise fields.unfit(field, "1 to 20 characters of the file's name were expected")
    at_ms, ordinal = fields.iso_ms("timestamp"), fields.integer("row", 0, _MAX_ROWS)
    position, clicked = fields.integer("position", 1, MAX_POSITION), fields.integer("click", 0, 1)
    propensity = fields.share("propensity_score")
    needed = {
        "timestamp": at_ms, "row": ordinal, "position": position, "click": clicked, "propensity_score": propensity,
    }  # fmt: skip
    missing = next((name for name, value in needed.items() if value is None), None)
    if missing is not None or at_ms is None or ordinal is None or position is None or propensity is None:
        raise fields.unfit(missing or "record", "is missing, or 0 where that means nothing")
    row = Row(at_ms, ordinal, fields.required("item_id"), position, clicked == 1, propensity)
    impression, click = events_of(row, names[0], names[1])
    yield impression
    if click is not None:
        yield click
