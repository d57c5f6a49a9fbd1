"""What a campaign is credited with: revenue at the surface that its impressions name."""

import pytest

from stream_app.core.events import AnyEvent, Message
from stream_app.core.tally import Tally
from stream_app.metrics.catalogue import INDEX, MEASURES
from stream_app.statistics.estimates import Estimate
from stream_app.statistics.lowering import lower
from tests.metrics.money import METRIC, refund, state_of
from tests.timelines import at, click, conversion, impression, order, rows

CAMPAIGN = "email.spring"


def credited(surface: str, *events: AnyEvent) -> float:
    """Return the attributed revenue of a surface after these events."""
    cells = rows(state_of(*events)).values()
    tallies = [tally for by_slice in cells for slice_, tally in by_slice.items() if slice_[0] == surface]
    found = lower(METRIC["attributed_revenue"], Tally.total(tallies, len(MEASURES)), INDEX)
    assert found is not None
    return found.value


def mail(seconds: float, user: str = "u1", decision: str = "m1") -> AnyEvent:
    """Return the impression of an item of the campaign's message."""
    return impression(seconds, decision, user=user, surface=CAMPAIGN, channel="email")


SALE = (mail(0), click(60, "m1"), order(300, total_minor=2_975, tax_minor=475))


def test_a_campaign_has_what_its_impressions_earned() -> None:
    """An order of 25.00 net after a click, and 10.00 by another reader; nothing is left for the home page."""
    other = (mail(0, "u2", "m2"), conversion(600, "u2", value_minor=1_000, currency="EUR"))
    assert (35.0, 0.0) == tuple(credited(surface, *SALE, *other) for surface in (CAMPAIGN, "home"))


def test_the_last_click_earns_it() -> None:
    """Who clicked in the message and then at home buys from home; what an order quotes goes before."""
    home = (impression(100, "h1"), click(110, "h1"))
    quoted = conversion(900, decision="m1", value_minor=700, currency="EUR")
    assert (0.0, 25.0) == tuple(credited(surface, *SALE[:2], *home, SALE[2]) for surface in (CAMPAIGN, "home"))
    assert 7.0 == credited(CAMPAIGN, *SALE[:2], *home, quoted)


@pytest.mark.parametrize(
    "events",
    [
        (mail(0), click(60, "m1"), order(300, "somebody")),
        (mail(0), click(60, "m1"), order(300, currency="USD")),
        (mail(0), click(60, "m1"), order(8 * 86_400)),
        (
            Message(id="s", ts=at(0), user="u1", message="m", state="clicked", campaign="spring", personalized=True),
            order(300),
        ),
    ],
    ids=["of others", "in dollars", "too late", "of a message alone"],
)
def test_what_a_campaign_did_not_earn(events: tuple[AnyEvent, ...]) -> None:
    """Orders of others, in another currency, after the window, and those that follow a message without impressions."""
    assert 0.0 == credited(CAMPAIGN, *events)


def test_credit_is_not_reduced_by_refunds() -> None:
    """They come weeks later, and are seen in the order values."""
    sold = order(300, order="o", total_minor=2_500)
    assert 25.0 == credited(CAMPAIGN, *SALE[:2], sold, refund(400, "o", 2_500))


def test_credit_grows_with_traffic_and_is_not_contrasted() -> None:
    """A sum has no interval: it is what was counted."""
    counted = [0] * len(MEASURES)
    counted[INDEX["revenue_minor"]] = 12_345
    assert Estimate(123.45, 123, 123.45, 123.45) == lower(METRIC["attributed_revenue"], counted, INDEX)
