"""Offers: what people make of what they were offered.

An offer is what one user was offered under one id: the set of all responses ever told, so order and repetition make no
difference, and an offer that is shown again is still one. Whoever accepted, redeemed or dismissed it was shown it;
whoever redeemed it accepted it. Dismissed are those that nobody took after all, expired those that nobody redeemed.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from stream_app.core.events import Offer
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Measure
from stream_app.metrics.methods import Proportion
from stream_app.metrics.metric import Family, Metric

HORIZON_MS: Final = 28 * DAY_MS
"""A response that comes later than this after the last one is to another offer."""
_BITS: Final = {
    response: 1 << bit for bit, response in enumerate(("shown", "accepted", "redeemed", "dismissed", "expired"))
}


class Offered(NamedTuple):
    """The responses that were told of an offer, as bits."""

    told: int = 0

    def was(self, *responses: str) -> bool:
        """Say whether any of these was told."""
        return any(self.told & _BITS[response] for response in responses)

    @property
    def is_shown(self) -> bool:
        """Somebody saw it. What only expired may never have been seen."""
        return self.was("shown", "accepted", "redeemed", "dismissed")

    @property
    def is_accepted(self) -> bool:
        """Somebody took it, perhaps to redeem it later."""
        return self.was("accepted", "redeemed")

    @property
    def is_dismissed(self) -> bool:
        """Somebody did not want it, and has not taken it since."""
        return self.was("dismissed") and not self.is_accepted

    @property
    def is_expired(self) -> bool:
        """It was shown, and nobody redeemed it in time."""
        return self.is_shown and self.was("expired") and not self.was("redeemed")


OFFERED: Final = Kind(
    "offers",
    (Offer,),
    lambda event: f"{event.user}\x1f{event.offer}",
    Offered(),
    lambda offered, event: Offered(offered.told | _BITS[event.response]),
    horizon_ms=HORIZON_MS,
)


def _of_offers(name: str, help_: str, holds: Callable[[Offered], bool]) -> Measure:
    return Measure(name, help_, "offers", OFFERED, growth(holds))


MEASURES: Final = (
    _of_offers("offers_shown", "Offers that somebody saw, once per person.", lambda offered: offered.is_shown),
    _of_offers("offers_accepted", "Offers that were accepted or redeemed.", lambda offered: offered.is_accepted),
    _of_offers("offers_redeemed", "Offers that were redeemed.", lambda offered: offered.was("redeemed")),
    _of_offers("offers_dismissed", "Offers dismissed and not taken after all.", lambda offered: offered.is_dismissed),
    _of_offers("offers_expired", "Offers seen that expired before anybody redeemed them.", lambda o: o.is_expired),
)

_CAVEAT: Final = (
    "Per person and offer, not per view of it. Responses count where the offer was first told of, and come until it "
    "expires: while offers run it is too low. More than 28 days later a response is one to another offer. A discount "
    "that is redeemed may have been given to somebody who would have bought anyway: compare arms."
)


def _share(name: str, title: str, help_: str, of: str, method: Proportion, *, is_up_good: bool | None) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit="ratio",
        formula=f"offers {of} / offers shown, each once per person",
        caveat=_CAVEAT,
        method=method,
        honesty="estimate",
        settles="conversion_window",
        is_up_good=is_up_good,
        highest=1.0,
    )


METRICS: Final = (
    _share(
        "offer_acceptance",
        "Offers accepted",
        "Share of the offers shown that were accepted or redeemed.",
        "accepted or redeemed",
        Proportion("offers_accepted", "offers_shown"),
        is_up_good=True,
    ),
    _share(
        "offer_redemption",
        "Offers redeemed",
        "Share of the offers shown that were redeemed.",
        "redeemed",
        Proportion("offers_redeemed", "offers_shown"),
        is_up_good=True,
    ),
    _share(
        "offer_dismissal",
        "Offers dismissed",
        "Share of the offers shown that were dismissed, and not taken after all.",
        "dismissed, neither accepted nor redeemed",
        Proportion("offers_dismissed", "offers_shown"),
        is_up_good=False,
    ),
    _share(
        "offer_expiry",
        "Offers expired",
        "Share of the offers shown that expired before they were redeemed.",
        "expired, not redeemed",
        Proportion("offers_expired", "offers_shown"),
        is_up_good=False,
    ),
)

FAMILY: Final = Family("offers", "Offers", "What people make of what they are offered.", MEASURES, METRICS)
