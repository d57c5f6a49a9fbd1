"""A watch without a store of counts: minutes as a worker would count them, and a vigil over them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from redis.asyncio import Redis

from stream_app.core.aggregation import Cells
from stream_app.core.histograms import Bin, Bins
from stream_app.core.panes import PANE_MS
from stream_app.core.slices import Slice, SliceTable
from stream_app.core.tally import Occasion
from stream_app.metrics.catalogue import HISTOGRAMS, INDEX, PLAN, WINDOWS
from stream_app.serving.partitions import Change, PartitionState
from stream_app.serving.server import policy_of
from stream_app.serving.sums import Sums
from stream_app.serving.views import Origin, View, build_view, newest_ms, windows_end_ms
from stream_app.serving.vigil import Vigil
from stream_app.serving.watch_store import WatchStore
from stream_app.serving.windows import Windows, bin_windows
from stream_app.settings import RedisSettings, VerdictsSettings
from stream_app.statistics.series import MINUTE_MS
from tests.serving import viewing
from tests.serving.stored import HOLDOUT, HOME, NOW_MS, seen
from tests.serving.viewing import STORE, live

SETTINGS = VerdictsSettings(settle_s=1_800)
MEANING = msgspec.structs.replace(viewing.MEANING, histograms=HISTOGRAMS)
START_MS = NOW_MS - NOW_MS % MINUTE_MS
OPEN_MS = MEANING.out_of_orderness_ms + MEANING.lateness_ms


class Count(NamedTuple):
    """What a slice saw in the pane that contains `at_ms`; at which position, if that is known (0: it is not)."""

    at_ms: int
    slice_: Slice
    at_risk: int
    first_clicks: int
    position: int = 0


class Scene(NamedTuple):
    """What a refresh has read and computed."""

    windows: Windows
    bins: Sums[Bin]
    view: View
    states: list[PartitionState]
    at_ms: int


def minute(
    at_ms: int, clicks: int, base_clicks: int, risks: int = 100, slices: Sequence[Slice] = (HOME, HOLDOUT)
) -> list[Count]:
    """Return a minute in which as many impressions were at risk in each arm, and some got their first click."""
    treated, base = slices
    return [Count(at_ms, treated, risks, clicks), Count(at_ms + 3 * PANE_MS, base, risks, base_clicks)]


def scene(counted: Iterable[Count], newest: int, states: list[PartitionState] | None = None, **head: object) -> Scene:
    """Return what is read of a partition that counted this and has come to `newest`."""
    counted = list(counted)
    slices = tuple(dict.fromkeys(each.slice_ for each in counted))
    cells, spread = Cells(PLAN), Bins(PLAN, SliceTable(len(slices), slices))
    for at_ms, slice_, at_risk, first_clicks, position in counted:
        number = slices.index(slice_)
        shown = seen(at_ms)
        for occasion, times in (
            (Occasion.IMPRESSION, at_risk),
            (Occasion.AT_RISK, at_risk),
            (Occasion.SESSION, at_risk),
            (Occasion.CLICK, first_clicks),
            (Occasion.FIRST_CLICK, first_clicks),
        ):
            for _ in range(times):
                cells.add(at_ms, number, occasion, shown)
        if position:
            place = at_ms - at_ms % PANE_MS, number
            spread.gathered(Occasion.POSITIONS_AT_RISK)[place] += [1 << position - 1] * at_risk
            spread.gathered(Occasion.FIRST_CLICK_AT)[place] += [position] * first_clicks
    states = [live(0, newest, at_ms=newest, **head)] if states is None else states
    windows, looked = Windows(WINDOWS, INDEX["impressions"]), newest_ms(states, newest, 0)
    bins = bin_windows(WINDOWS)
    spread.settle()
    change = Change(0, False, slices, cells.take_changes() | spread.cells.take_changes())
    for sums in (windows, bins):
        sums.advance([change], windows_end_ms(looked))
    view = build_view(Origin("0.1.0", "test"), MEANING, windows, bins, states, STORE, looked, newest, 0.0)
    return Scene(windows, bins, view, states, newest)


class Nobody:
    """A courier that leaves everything where it is. Mutable state: how often it was woken."""

    is_up = True

    def __init__(self) -> None:
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def store_of(redis: "Redis", app: str = "lynceus", settings: VerdictsSettings = SETTINGS) -> WatchStore:
    return WatchStore(redis, RedisSettings(), app, settings.surfaces, settings.history)


def vigil_of(redis: "Redis", app: str = "lynceus", settings: VerdictsSettings = SETTINGS) -> Vigil:
    """Return the vigil of a server that has just started."""
    store = store_of(redis, app, settings)
    return Vigil(store, policy_of(settings), MEANING, settings.surfaces, Nobody())


async def look(vigil: Vigil, seen: Scene) -> None:
    """Let the vigil look once."""
    await vigil.watch(seen.windows, seen.bins, seen.view, seen.states, seen.at_ms)
