"""Who hears of what happened on a surface: a page, a ticket, or nobody; through everything that is real.

    home.hero   60 usual minutes, 15 in which the personalized arm lost its clicks         a page
    listing     92 usual minutes, 16 in which both arms lost theirs                        a ticket
    cart        60 usual minutes, 20 in which two thirds of the personalized arm
                are missing, 15 in which it lost its clicks too                            a ticket, and no page

All end now. They are sent at once and judged at once, for the watch judges event time; then Alertmanager is started.
The 92 minutes are so many because what is usual is known of hours that are over: wherever in an hour the test begins,
one ends within them, and half an hour of it was seen.
"""

import heapq
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import pytest

from stream_app.core import codec
from stream_app.stack import Stack
from tests.e2e.alerting import Alerting
from tests.e2e.histories import MINUTE_MS, Part, history
from tests.e2e.hooks import PATIENCE_S
from tests.e2e.stacks import started, targets
from tests.fleet import send

SETTINGS: Final = {
    "LYNCEUS_VERDICTS__SETTLE_S": "1800",
    "LYNCEUS_VERDICTS__SHARES": "personalized=0.5,holdout=0.5",
    "LYNCEUS_COUNTING__LATENESS_S": "0",
}
"""Half an hour of usual times is enough to judge; nothing is late here, so that all but the last minute is judged."""
_BOTH: Final = {"personalized": 21, "holdout": 21}
_FEWER: Final = {"personalized": 7, "holdout": 21}
_USUAL: Final = {"personalized": 0.3, "holdout": 0.25}
_DROPPED: Final = {"personalized": 0.03, "holdout": 0.25}
_EVERYWHERE: Final = {"personalized": 0.06, "holdout": 0.05}
HISTORIES: Final[Mapping[str, Sequence[Part]]] = {
    "home.hero": (Part(60, _BOTH, _USUAL), Part(15, _BOTH, _DROPPED)),
    "listing": (Part(92, _BOTH, _USUAL), Part(16, _BOTH, _EVERYWHERE)),
    "cart": (Part(60, _BOTH, _USUAL), Part(20, _FEWER, _USUAL), Part(15, _FEWER, _DROPPED)),
}
DROP: Final = "LynceusPersonalizationDrop"
SITE_WIDE: Final = "LynceusSiteWideChange"
MISMATCH: Final = "LynceusSampleRatioMismatch"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alerting]:
    """Yield Alertmanager after it has told everybody whatever there was to be told."""
    with started(SETTINGS) as stack:
        happen(stack)
        with Alerting(tmp_path_factory.mktemp("alerting"), targets(stack)) as alerting:
            hooks = alerting.hooks
            for receiver, alert, surface in (
                ("page", DROP, "home.hero"),
                ("ticket", SITE_WIDE, "listing"),
                ("ticket", MISMATCH, "cart"),
            ):
                hooks.wait(lambda one, expected=(receiver, "firing", alert, surface): one[:4] == expected, alert)  # type: ignore[misc]
            alerting.pass_on()
            yield alerting


def test_a_drop_is_one_page(told: Alerting) -> None:
    """Exactly one page, of this surface, with its cause and its runbook; the wall hears of it, nobody has a ticket."""
    (page,) = told.hooks.to("page")
    (alert,) = page.alerts
    assert ("home.hero", "drop", "docs/runbooks/LynceusPersonalizationDrop.md") == (
        alert["labels"]["surface"],
        alert["labels"]["cause"],
        alert["annotations"]["runbook_url"],
    )
    assert ("firing", DROP, "home.hero") == (page.status, page.alert, page.surface)
    assert ([("firing", DROP)], []) == (said(told, "wall", "home.hero"), said(told, "ticket", "home.hero"))


def test_what_is_site_wide_pages_nobody(told: Alerting) -> None:
    """Both arms fell alike: that is one ticket, and no drop that would only have been kept back."""
    assert ([], [("firing", SITE_WIDE)], {("site_wide", "surface")}) == (
        said(told, "page", "listing"),
        said(told, "ticket", "listing"),
        verdicts(told, "listing"),
    )


def test_a_mismatch_keeps_a_drop_back(told: Alerting) -> None:
    """The arms are not as large as promised: a ticket says so, and what then looks like a drop is not even judged."""
    assert ([], [("firing", MISMATCH)], {("mismatch", "surface")}, ["1"]) == (
        said(told, "page", "cart"),
        said(told, "ticket", "cart"),
        verdicts(told, "cart"),
        [each["value"][1] for each in told.query('lynceus_watch_paused{surface="cart"}')],
    )


def said(told: Alerting, receiver: str, surface: str) -> list[tuple[str, str]]:
    """Return what a receiver was told of a surface: of which alerts, and whether they fire."""
    return [(each.status, each.alert) for each in told.hooks.to(receiver) if each.surface == surface]


def verdicts(told: Alerting, surface: str) -> set[tuple[str, str]]:
    """Return cause and KPI of the verdicts that are open, as Prometheus knows them."""
    found = told.query(f'lynceus_verdict_active{{surface="{surface}"}} == 1')
    return {(each["metric"]["cause"], each["metric"]["kpi"]) for each in found}


def happen(stack: Stack) -> None:
    """Send what happened until now, and return when the watch has judged all of it but the last minute."""
    now = time.time_ns() // 1_000_000
    ends_ms = now - now % MINUTE_MS
    surfaces = [history(surface, parts, ends_ms) for surface, parts in HISTORIES.items()]
    send(stack.settings.kafka, map(codec.encode, heapq.merge(*surfaces, key=lambda event: event.ts)))
    deadline = time.monotonic() + PATIENCE_S
    expected = dict.fromkeys(HISTORIES, ends_ms - MINUTE_MS)
    while (until_ms := judged_ms(stack)) != expected:
        assert time.monotonic() < deadline, f"the watch stands at {until_ms}, not at {expected}"
        time.sleep(0.1)  # a poll: there is nothing to be woken by


def judged_ms(stack: Stack) -> dict[str, int]:
    """Return until when each surface was judged."""
    with urllib.request.urlopen(f"{stack.url}/metrics", timeout=10) as page:
        text = page.read().decode()
    found = re.findall(r'^lynceus_watch_end_timestamp_seconds{surface="(.+)"} (\S+)$', text, re.MULTILINE)
    return {surface: round(1000 * float(until)) for surface, until in found}
