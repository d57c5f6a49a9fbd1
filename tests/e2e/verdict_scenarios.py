"""What becomes of a surface's last hour and a half: a page, a ticket, or neither; through everything that is real.

The stack must have been started with `SETTINGS` (half an hour of normal times is enough to judge, and the arms have
shares), and have counted nothing yet. The history is sent at once and judged at once; then Alertmanager is started.
"""

import re
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import Final

from stream_app.stack import Stack
from tests.e2e.alerting import Alerting
from tests.e2e.histories import MINUTE_MS, Part, history
from tests.e2e.hooks import PATIENCE_S
from tests.fleet import send

LATENESS_S: Final = 600
AT_ONCE: Final = 600
"""Events that are sent at once: less than the lateness has, for a partition of which the server has not heard yet that
records wait there holds up nobody."""
SETTINGS: Final = {
    "LYNCEUS_VERDICTS__SETTLE_S": "1800",
    "LYNCEUS_VERDICTS__SHARES": "personalized=0.5,holdout=0.5",
    "LYNCEUS_COUNTING__LATENESS_S": str(LATENESS_S),
}
Watching = Callable[[], Alerting]
"""Makes what starts Prometheus and Alertmanager over the stack."""
SURFACE: Final = "home.hero"
_BOTH: Final = {"personalized": 30, "holdout": 30}
_USUAL: Final = Part(60, _BOTH, {"personalized": 0.3, "holdout": 0.25})
_DROP: Final = Part(30, _BOTH, {"personalized": 0.03, "holdout": 0.25})
_SITE_WIDE: Final = Part(30, _BOTH, {"personalized": 0.06, "holdout": 0.05})
_MISMATCH: Final = Part(20, {"personalized": 10, "holdout": 30}, {"personalized": 0.3, "holdout": 0.25})
_DROP_AND_MISMATCH: Final = Part(30, {"personalized": 10, "holdout": 30}, {"personalized": 0.03, "holdout": 0.25})
_DROP_ALERT: Final = "LynceusPersonalizationDrop"


def a_drop_is_one_page(stack: Stack, alerting: Watching) -> None:
    """Exactly one page, of this surface, with its cause and its runbook; the wall hears of it, nobody has a ticket."""
    tell(stack, [_USUAL, _DROP])
    with alerting() as told:
        page = told.hooks.wait(lambda message: message[:3] == ("page", "firing", _DROP_ALERT), "a page for the drop")
        told.hooks.wait(lambda message: message[:3] == ("wall", "firing", _DROP_ALERT), "the wall")
        told.pass_on()
        (alert,) = page.alerts
        assert (SURFACE, "drop", "docs/runbooks/LynceusPersonalizationDrop.md") == (
            alert["labels"]["surface"],
            alert["labels"]["cause"],
            alert["annotations"]["runbook_url"],
        )
        assert [("firing", _DROP_ALERT, SURFACE)] == [message[1:4] for message in told.hooks.to("page")]
        assert [] == [message for message in told.hooks.to("ticket") if message.surface == SURFACE]


def what_is_site_wide_pages_nobody(stack: Stack, alerting: Watching) -> None:
    """Both arms fell alike: no page, and no drop that would only have been kept back."""
    tell(stack, [_USUAL, _SITE_WIDE])
    with alerting() as told:
        told.pass_on()
        assert ([], False) == (told.hooks.to("page"), _DROP_ALERT in told.firing())


def a_mismatch_keeps_a_drop_back(stack: Stack, alerting: Watching) -> None:
    """The arms are not as large as promised: a ticket says so, and nobody is paged for what then looks like a drop."""
    tell(stack, [_USUAL, _MISMATCH, _DROP_AND_MISMATCH])
    with alerting() as told:
        told.hooks.wait(lambda m: m[:4] == ("ticket", "firing", "LynceusSampleRatioMismatch", SURFACE), "a ticket")
        told.pass_on()
        assert [] == told.hooks.to("page")


def tell(stack: Stack, parts: Sequence[Part]) -> None:
    """Send what happened until now, and return when the watch has judged it."""
    ends_ms = time.time_ns() // 1_000_000
    events = list(history(SURFACE, parts, ends_ms))
    for start in range(0, len(events), AT_ONCE):
        send(stack.settings.kafka, events[start : start + AT_ONCE])
        stack.wait_for(min(len(events), start + AT_ONCE))
        stack.wait_until_shown(min(len(events), start + AT_ONCE))
    # The minute that is under way, and what may still come out of order, or late, are not judged yet.
    deadline = time.monotonic() + PATIENCE_S
    while (until_ms := _judged_ms(stack)) < ends_ms - 1_000 * LATENESS_S - 2 * MINUTE_MS:
        assert time.monotonic() < deadline, f"the watch stands at {until_ms}"
        time.sleep(0.1)  # a poll: there is nothing to be woken by


def _judged_ms(stack: Stack) -> int:
    with urllib.request.urlopen(f"{stack.url}/metrics", timeout=10) as page:
        text = page.read().decode()
    found = re.search(rf'^lynceus_watch_end_timestamp_seconds{{surface="{SURFACE}"}} (\S+)$', text, re.MULTILINE)
    return int(1000 * float(found[1])) if found else 0
