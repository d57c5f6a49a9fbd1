"""What becomes of a surface's last hour and a half: a page, a ticket, or neither; through everything that is real.

Each scenario sends its history at once, waits until the watch has judged it, and looks at who was told. The stack must
have been started with `SETTINGS`: half an hour of normal times is enough to judge, and the arms have shares.
"""

import time
from collections.abc import Sequence
from typing import Final

from stream_app.stack import Stack
from tests.e2e.alerting import Alerting
from tests.e2e.histories import MINUTE_MS, Part, history
from tests.fleet import send

SETTINGS: Final = {
    "LYNCEUS_VERDICTS__SETTLE_S": "1800",
    "LYNCEUS_VERDICTS__SHARES": "personalized=0.5,holdout=0.5",
    "LYNCEUS_COUNTING__LATENESS_S": "0",  # a minute is sealed, and judged, as soon as it is over
}
SURFACE: Final = "home.hero"
_BOTH: Final = {"personalized": 30, "holdout": 30}
_USUAL: Final = Part(60, _BOTH, {"personalized": 0.3, "holdout": 0.25})
_DROP: Final = Part(30, _BOTH, {"personalized": 0.03, "holdout": 0.25})
_SITE_WIDE: Final = Part(30, _BOTH, {"personalized": 0.06, "holdout": 0.05})
_MISMATCH: Final = Part(20, {"personalized": 10, "holdout": 30}, {"personalized": 0.3, "holdout": 0.25})
_DROP_AND_MISMATCH: Final = Part(30, {"personalized": 10, "holdout": 30}, {"personalized": 0.03, "holdout": 0.25})
_DROP_ALERT: Final = "LynceusPersonalizationDrop"


def a_drop_is_one_page(stack: Stack, alerting: Alerting) -> None:
    """Exactly one page, of this surface, with its cause and its runbook; the wall hears of it, and there is no ticket."""
    tell(stack, alerting, [_USUAL, _DROP])
    page = alerting.hooks.wait(lambda message: message[:3] == ("page", "firing", _DROP_ALERT), "a page for the drop")
    alerting.hooks.wait(lambda message: message[:3] == ("wall", "firing", _DROP_ALERT), "the wall")
    (alert,) = page.alerts
    assert (SURFACE, "drop", "docs/runbooks/LynceusPersonalizationDrop.md") == (
        alert["labels"]["surface"],
        alert["labels"]["cause"],
        alert["annotations"]["runbook_url"],
    )
    alerting.pass_on()
    assert [("firing", _DROP_ALERT, SURFACE)] == [message[1:4] for message in alerting.hooks.to("page")]
    assert [] == [message for message in alerting.hooks.to("ticket") if message.surface == SURFACE]


def what_is_site_wide_pages_nobody(stack: Stack, alerting: Alerting) -> None:
    """Both arms fell alike: no page, and no drop that would only have been kept back."""
    tell(stack, alerting, [_USUAL, _SITE_WIDE])
    alerting.pass_on()
    assert ([], False) == (alerting.hooks.to("page"), _DROP_ALERT in alerting.firing())


def a_mismatch_keeps_a_drop_back(stack: Stack, alerting: Alerting) -> None:
    """The arms are not as large as promised: a ticket says so, and nobody is paged for what then looks like a drop."""
    tell(stack, alerting, [_USUAL, _MISMATCH, _DROP_AND_MISMATCH])
    alerting.hooks.wait(
        lambda message: message[:4] == ("ticket", "firing", "LynceusSampleRatioMismatch", SURFACE), "a ticket"
    )
    alerting.pass_on()
    assert [] == alerting.hooks.to("page")


def tell(stack: Stack, alerting: Alerting, parts: Sequence[Part]) -> None:
    """Send what happened until now, and return when Prometheus has what the watch makes of it."""
    ends_ms = time.time_ns() // 1_000_000
    before = stack.progressed().applied
    count = send(stack.settings.kafka, history(SURFACE, parts, ends_ms))
    stack.wait_for(before + count)
    # The minute that is under way, and what may still come out of order, are not judged yet.
    judged = f'max(lynceus_watch_end_timestamp_seconds{{surface="{SURFACE}"}}) >= {(ends_ms - 2 * MINUTE_MS) // 1000}'
    alerting.wait(lambda: bool(alerting.query(judged)), "the watch has judged all of it")
