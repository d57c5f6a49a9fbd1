"""One view of what Redis holds now, for who asks a single question: no server need run."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Final

from stream_app.errors import LynceusError
from stream_app.serving.partitions import Change
from stream_app.serving.reader import StoreUnavailableError, check_store, connect
from stream_app.serving.refresher import clock_ms
from stream_app.serving.server import meaning_of, reader_of
from stream_app.serving.views import Origin, View, build_view, newest_ms, windows_end_ms
from stream_app.serving.windows import Windows, bin_windows
from stream_app.settings import Settings

MAX_SCANS: Final = 10_000
"""Steps of the search for further partitions, of 200 keys each."""


async def view_now(settings: Settings, clock: Callable[[], int] = clock_ms) -> View:
    """Return the view that a server would show which had started just now.

    Raises LynceusError when Redis is unreachable, wants a password, or evicts.
    """
    async with connect(settings.redis) as redis:
        await check_store(redis, settings.redis)
        reader = reader_of(settings, redis)
        changes: list[Change] = []
        try:
            reading = await reader.refresh()
            # Partitions beyond the configured ones are found step by step, and read by the refresh that follows.
            for _ in range(MAX_SCANS):
                changes += reading.changes
                has_scanned = reader.has_scanned
                reading = await reader.refresh()
                if has_scanned:
                    break
        except StoreUnavailableError as error:
            raise LynceusError(f"Redis cannot be read: {error}", "Try again when it answers") from None
    changes += reading.changes
    meaning, at_ms = meaning_of(settings), clock()
    newest = newest_ms(reading.partitions, at_ms, 0)
    windows, bins = Windows(meaning.windows, meaning.index["impressions"]), bin_windows(meaning.windows)
    for sums in (windows, bins):
        sums.advance(changes, windows_end_ms(newest))
    origin = Origin(version("lynceus"), settings.server.title)
    return build_view(
        origin, meaning, windows, bins, reading.partitions, reading.store, newest, at_ms, 0.0, reading.inputs
    )
