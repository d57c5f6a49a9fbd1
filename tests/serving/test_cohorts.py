"""Metrics of people who came of age, from events to the answer of a query: nobody younger is ever in one."""

from stream_app.core import cells
from stream_app.core.cells import Head
from stream_app.core.events import PageView
from stream_app.core.panes import DAY_MS, HOUR_MS
from stream_app.core.processor import Partition
from stream_app.core.rules import Rules
from stream_app.metrics.catalogue import INDEX, METRICS, PLAN, WINDOWS
from stream_app.serving.partitions import Change, PartitionState
from stream_app.serving.queries import Answer, query
from stream_app.serving.views import Meaning, Origin, build_view, newest_ms, windows_end_ms
from stream_app.serving.windows import Windows, bin_windows
from tests.metrics.ageing import D0, feed, on, state_of
from tests.serving.viewing import STORE

MEANING, ORIGIN = Meaning(METRICS, WINDOWS, INDEX, 10_000, 300_000, 600_000), Origin("0.1.0", "test")


class Server:
    """Windows fed from a partition's checkpoints, as the refresher does. Mutable state: the windows, the partition."""

    def __init__(self) -> None:
        self.state, self.gap_ms = state_of([]), 0
        self.windows = Windows(WINDOWS, INDEX["impressions"])

    def ask(self, metric: str, window: str, arm: str = "personalized") -> Answer:
        """Answer from what is stored, and what was before."""
        fields, stale = self.state.take_changes()
        changed = {name: packed for name, packed in fields.items() if name.startswith(tuple(cells.TALLIES))}
        gone = {name: None for name in stale if name.startswith(tuple(cells.TALLIES))}
        newest = self.state.head.newest_ms
        head = Head(applied=1, newest_ms=newest, outcomes={"counted": 1}, gap_ms=self.gap_ms)
        partition = PartitionState(0, True, 1, head)
        end_ms = windows_end_ms(newest_ms([partition], newest, 0))
        self.windows.advance([Change(0, False, tuple(self.state.slices.slices), changed | gone)], end_ms)
        view = build_view(
            Origin("0.1.0", "test"),
            MEANING,
            self.windows,
            bin_windows(WINDOWS),
            [partition],
            STORE,
            newest,
            newest,
            1.0,
        )
        return query(view, MEANING, [("metric", metric), ("window", window), ("arm", arm)])


def page(day: float, user: str) -> PageView:
    """Return a page view."""
    return on(day, PageView, user, page="/")


def test_a_cohort_is_shown_from_the_midnight_on_which_it_is_of_age() -> None:
    """Of two people seen on day 0 one is back on day 1: there is no day-1 retention before day 2 begins."""
    server = Server()
    feed(server.state, [page(0, "a"), page(0, "b"), page(1, "a"), page(1.49, "young")])
    assert server.ask("retention_day_1", "7d").estimate is None
    feed(server.state, [page(1.6, "late")])
    found = server.ask("retention_day_1", "7d").estimate
    assert (0.5, 2) == (found.value, found.n)


def test_a_window_has_those_who_came_of_age_in_it() -> None:
    """One person a day for 40 days, who comes back on the next day if the day is even: seven of them in 7 days."""
    server = Server()
    pages = [page(day, f"u{day}") for day in range(40)]
    pages += [page(day + 1.01, f"u{day}") for day in range(0, 40, 2)]
    for event in sorted(pages, key=lambda each: each.ts):
        feed(server.state, [event])
        server.ask("retention_day_1", "28d")
    # It is day 39: those of days 31 to 37 have come of age, four of them of odd days.
    week, month = server.ask("retention_day_1", "7d").estimate, server.ask("retention_day_1", "28d").estimate
    assert (7, 3 / 7, 28, 0.5) == (week.n, week.value, month.n, month.value)


def test_a_restart_shows_the_same() -> None:
    """A worker that comes back, and a server that reads everything anew, show what was shown before."""
    server, again = Server(), Server()
    feed(server.state, [page(0, "a"), page(0, "b"), page(1, "a"), page(9, "c")])
    stored, _ = server.state.take_changes()
    again.state, _ = Partition.restore(PLAN, Rules(), {cells.SLICES: cells.pack([])} | stored)
    again.windows.advance([Change(0, True, tuple(again.state.slices.slices), stored)], 0)
    server.windows.advance([Change(0, True, tuple(server.state.slices.slices), stored)], 0)
    assert server.ask("retention_day_7", "28d") == again.ask("retention_day_7", "28d")
    assert 2 == again.ask("retention_day_7", "28d").estimate.n


def test_what_was_missed_when_people_began_is_missing_when_they_are_of_age() -> None:
    """Records lost on day 1 make what is said on day 40 of people 35 days old incomplete; of those a week old not."""
    server = Server()
    feed(server.state, [page(day, "a") for day in range(41)])
    server.gap_ms = D0 + DAY_MS
    answers = [server.ask(f"retention_{name}", "7d") for name in ("week_5", "day_7")]
    assert [True, False] == [answer.gapped for answer in answers]


def test_an_hour_is_no_window_for_a_cohort() -> None:
    """Its metrics are asked for in windows of a week and more, the young in none of them."""
    cohorts = [metric for metric in METRICS if metric.settles == "cohort_age"]
    assert {("7d", "28d")} == {metric.windows for metric in cohorts}
    assert [] == [metric.name for metric in cohorts if not metric.cohort_days]
    longest = max(metric.cohort_days for metric in cohorts) * DAY_MS
    assert all(kind.horizon_ms >= longest + HOUR_MS for kind in PLAN.kinds if kind in {a.kind for a in PLAN.aged})
    assert D0 % DAY_MS == 0
