"""The fields of a foreign record: looked up by name, converted strictly, and named in full when they do not fit.

A value that is missing or null is None: the caller decides whether the event can do without it. Numbers may come as
decimal strings, because that is how BigQuery exports 64-bit integers and how Snowplow's trackers send everything.
"""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from producers.foreign import UnfitError, shortened
from producers.money import decimal_places
from stream_app.core.events import EARLIEST_MS, LATEST_MS

MAX_PATH: Final = 256
MAX_MINOR: Final = 10**12
MAX_QUANTITY: Final = 1_000_000
MAX_POSITION: Final = 10_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,30})?")
_LARGEST: Final = 10**18


class Fields:
    """One JSON object of a record, and where in the record it stands."""

    __slots__ = ("path", "values")

    def __init__(self, values: object, path: str = "") -> None:
        """`path` is where `values` stand in the record. Raises UnfitError when they are no JSON object."""
        if not isinstance(values, dict):
            raise UnfitError(path or "record", "a JSON object was expected")
        self.values: dict[str, Any] = values
        self.path = path

    def where(self, name: str) -> str:
        """Return the full name of a field."""
        return f"{self.path}.{name}" if self.path else name

    def unfit(self, name: str, reason: str) -> UnfitError:
        """Return what to raise when a field does not fit."""
        return UnfitError(self.where(name), reason)

    def get(self, name: str) -> Any:
        """Return the value as it is; None when it is missing or null."""
        return self.values.get(name)

    def within(self, name: str) -> "Fields":
        """Return the fields of an object inside; none when it is missing."""
        value = self.values.get(name)
        return Fields({} if value is None else value, self.where(name))

    def each(self, name: str) -> Iterator["Fields"]:
        """Yield the objects of an array inside; none when it is missing."""
        value = self.values.get(name)
        if value is None:
            return
        if not isinstance(value, list):
            raise self.unfit(name, "an array was expected")
        for number, element in enumerate(value):
            yield Fields(element, f"{self.where(name)}[{number}]")

    def text(self, name: str) -> str | None:
        """Return a string; an empty one is none."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            raise self.unfit(name, "a string was expected")
        return value

    def identifier(self, *names: str) -> str | None:
        """Return the first that is there, as it is or hashed when it is longer than 64 characters.

        Whole numbers are ids, too.
        """
        for name in names:
            if (found := self.long_identifier(name)) is not None:
                return shortened(found)
        return None

    def long_identifier(self, name: str) -> str | None:
        """Return an id of any length."""
        value = self.values.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return str(value)
        return self.text(name)

    def required(self, *names: str) -> str:
        """Return the first id that is there. Raises UnfitError when none is."""
        found = self.identifier(*names)
        if found is None:
            raise self.unfit(names[0], "is missing")
        return found

    def decimal(self, name: str) -> Decimal | None:
        """Return a number exactly as it is written."""
        value = self.values.get(name)
        if value is None or value == "":
            return None
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            return Decimal(value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LARGEST:
            return Decimal(value)
        if isinstance(value, float) and math.isfinite(value) and abs(value) < _LARGEST:
            # The shortest decimal that reads back as this float: what the source wrote.
            return Decimal(repr(value))
        raise self.unfit(name, "a number was expected")

    def integer(self, name: str, least: int, most: int) -> int | None:
        """Return a whole number within bounds."""
        value = self.decimal(name)
        if value is None:
            return None
        if value != value.to_integral_value() or not least <= value <= most:
            raise self.unfit(name, f"{value} is no whole number from {least} to {most}")
        return int(value)

    def position(self, name: str, first: int = 1) -> int | None:
        """Return a place counted from 1, of a source that counts from `first`."""
        value = self.integer(name, first, MAX_POSITION - 1 + first)
        return None if value is None else value + 1 - first

    def share(self, name: str) -> float | None:
        """Return a probability above 0; None for 0, of which there is nothing to say."""
        value = self.decimal(name)
        if value is None or value == 0:
            return None
        if not 0 < value <= 1:
            raise self.unfit(name, f"{value} is no probability")
        return float(value)

    def currency(self, *names: str) -> str | None:
        """Return the first ISO 4217 code that is there, in capital letters."""
        for name in names:
            if (value := self.text(name)) is not None:
                if decimal_places(value.upper()) is None:
                    raise self.unfit(name, f"{value[:20]!r} is no currency of ISO 4217")
                return value.upper()
        return None

    def money(self, name: str, currency: str) -> int | None:
        """Return an amount in minor units of `currency`; fractions of one are rounded half to even."""
        value = self.decimal(name)
        if value is None:
            return None
        places = decimal_places(currency) or 0
        minor = (value * 10**places).to_integral_value(ROUND_HALF_EVEN)
        if not 0 <= minor <= MAX_MINOR:
            raise self.unfit(name, f"{value} {currency} is no amount from 0 to {MAX_MINOR} minor units")
        return int(minor)

    def iso_ms(self, name: str, *, is_utc: bool = False) -> int | None:
        """Return a time of ISO 8601 in ms; without a zone it is refused, unless the source says that it is UTC."""
        value = self.text(name)
        if value is None:
            return None
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise self.unfit(name, f"{value[:40]!r} is no time of ISO 8601") from None
        if at.tzinfo is None:
            if not is_utc:
                raise self.unfit(name, f"{value[:40]!r} has no time zone")
            at = at.replace(tzinfo=UTC)
        return self._within_bounds(name, (at - _EPOCH) // _MILLISECOND)

    def epoch_ms(self, name: str, per_second: int) -> int | None:
        """Return a time in ms of a source that counts `per_second` units a second since the epoch."""
        value = self.decimal(name)
        return None if value is None else self._within_bounds(name, int(value * 1000 / per_second))

    def url_path(self, name: str) -> str | None:
        """Return the path of a URL, without the query, which may tell who is looking."""
        value = self.text(name)
        if value is None:
            return None
        try:
            path = urlsplit(value).path
        except ValueError:
            raise self.unfit(name, "is no URL") from None
        return shortened(path or "/", MAX_PATH)

    def _within_bounds(self, name: str, at_ms: int) -> int:
        if EARLIEST_MS <= at_ms <= LATEST_MS:
            return at_ms
        raise self.unfit(name, "is not between 2000 and 2100: is it in another unit?")
