"""Messages: what became of each that was sent, of personalized ones and of those that all got alike.

A message is what one user got under one id; a set of the states that were ever told of it, so order and repetition
make no difference. States imply one another: who clicked or left by a message has opened it, and what was opened was
delivered, whatever was told. A bounce that came after all that was somebody else's mistake; else the message was not
delivered. A message is personalized if any event of it says so, and a blast if some say it is not, and none that it is.

What a campaign of messages earned cannot be said from these: no order or conversion says from which message it came,
and "the last message clicked before" would depend on what arrives first. Where the items of a message are sent as
impressions of a surface of the campaign, e.g. `email.spring`, their revenue is credited as everywhere
(`attributed_revenue`).
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from stream_app.core.events import Message
from stream_app.core.panes import DAY_MS
from stream_app.core.records import Kind, growth
from stream_app.core.tally import Measure
from stream_app.metrics.methods import Proportion
from stream_app.metrics.metric import Family, Metric, Settling

HORIZON_MS: Final = 7 * DAY_MS
"""What is told of a message later than a week after the last word of it is taken for another message."""
_DIMENSIONS: Final = ("arm", "policy", "segment", "channel")
_SETTLES: Final[Settling] = "conversion_window"
_BITS: Final = {
    state: 1 << bit for bit, state in enumerate(("sent", "delivered", "opened", "clicked", "bounced", "unsubscribed"))
}
_PERSONALIZED: Final = 1 << 6
_BLAST: Final = 1 << 7


class Sent(NamedTuple):
    """The states that were told of a message, and whether it was personalized, as bits."""

    told: int = 0

    def was(self, *states: str) -> bool:
        """Say whether any of these states was told."""
        return any(self.told & _BITS[state] for state in states)

    @property
    def is_opened(self) -> bool:
        """Somebody opened it, or did what nobody can without."""
        return self.was("opened", "clicked", "unsubscribed")

    @property
    def is_delivered(self) -> bool:
        """It was delivered and did not come back, or was opened."""
        return self.is_opened or (self.was("delivered") and not self.was("bounced"))

    @property
    def is_bounced(self) -> bool:
        """It came back, and nobody opened it."""
        return self.was("bounced") and not self.is_opened

    @property
    def is_personalized(self) -> bool:
        """It was made for the person who got it."""
        return bool(self.told & _PERSONALIZED)

    @property
    def is_blast(self) -> bool:
        """All got it alike."""
        return bool(self.told & _BLAST) and not self.is_personalized


def after(sent: Sent, event: Message) -> Sent:
    """Return the message once `event` is known."""
    told = sent.told | _BITS[event.state]
    if event.personalized is not None:
        told |= _PERSONALIZED if event.personalized else _BLAST
    return Sent(told)


SENT: Final = Kind(
    "messages",
    (Message,),
    lambda event: f"{event.user}\x1f{event.message}",
    Sent(),
    after,
    horizon_ms=HORIZON_MS,
)


def _of_messages(name: str, help_: str, holds: Callable[[Sent], bool]) -> Measure:
    return Measure(name, help_, "messages", SENT, growth(holds))


MEASURES: Final = (
    _of_messages("messages", "Messages of which anything was told, at the first word.", lambda sent: sent.told > 0),
    _of_messages("messages_delivered", "Messages that arrived.", lambda sent: sent.is_delivered),
    _of_messages("messages_opened", "Messages that were opened.", lambda sent: sent.is_opened),
    _of_messages("messages_clicked", "Messages in which something was clicked.", lambda sent: sent.was("clicked")),
    _of_messages("messages_bounced", "Messages that came back.", lambda sent: sent.is_bounced),
    _of_messages(
        "messages_unsubscribed", "Messages by which somebody left the list.", lambda sent: sent.was("unsubscribed")
    ),
    _of_messages(
        "personalized_messages_delivered",
        "Personalized messages that arrived.",
        lambda sent: sent.is_personalized and sent.is_delivered,
    ),
    _of_messages(
        "personalized_messages_opened",
        "Personalized messages that were opened.",
        lambda sent: sent.is_personalized and sent.is_opened,
    ),
    _of_messages(
        "personalized_messages_clicked",
        "Personalized messages in which something was clicked.",
        lambda sent: sent.is_personalized and sent.was("clicked"),
    ),
    _of_messages(
        "blasts_delivered", "Messages alike for all that arrived.", lambda sent: sent.is_blast and sent.is_delivered
    ),
    _of_messages(
        "blasts_opened", "Messages alike for all that were opened.", lambda sent: sent.is_blast and sent.is_opened
    ),
    _of_messages(
        "blasts_clicked",
        "Messages alike for all in which something was clicked.",
        lambda sent: sent.is_blast and sent.was("clicked"),
    ),
)

_OPENS: Final = (
    "Opens are told by an image that is loaded. Mail proxies load it though nobody looks (Apple Mail, since 2021), and "
    "where images are blocked nobody is seen to: it is neither a lower nor an upper bound. Prefer the click-through "
    "rate. "
)
_CLICKS: Final = "Scanners of mail click links, too: unless the sender filters them out, they are in it. "
_AGE: Final = (
    "Responses come for days, and count where the message was first told of: young windows are too low. Messages to "
    "one person are alike, and the interval takes them for independent."
)
_OF_GROUP: Final = (
    "Personalized messages and blasts go to other people, at other times, with other offers: the difference between "
    "the two is no effect of personalization. Between arms it is. "
)


def _rate(name: str, title: str, help_: str, formula: str, caveat: str, method: Proportion, **more: bool) -> Metric:
    return Metric(
        name=name,
        title=title,
        help=help_,
        unit="ratio",
        formula=formula,
        caveat=caveat + _AGE,
        method=method,
        honesty="estimate",
        settles=_SETTLES,
        is_up_good=more.get("is_up_good", True),
        highest=1.0,
        dimensions=_DIMENSIONS,
    )


METRICS: Final = (
    _rate(
        "message_open_rate",
        "Open rate of messages",
        "Share of delivered messages that were opened, each counted once.",
        "messages opened, clicked or unsubscribed by / messages delivered",
        _OPENS,
        Proportion("messages_opened", "messages_delivered"),
    ),
    _rate(
        "message_click_rate",
        "Click-through rate of messages",
        "Share of delivered messages in which something was clicked, each counted once.",
        "messages with at least one click / messages delivered",
        _CLICKS,
        Proportion("messages_clicked", "messages_delivered"),
    ),
    _rate(
        "personalized_open_rate",
        "Open rate of personalized messages",
        "Share of delivered personalized messages that were opened.",
        "personalized messages opened / personalized messages delivered",
        _OPENS + _OF_GROUP,
        Proportion("personalized_messages_opened", "personalized_messages_delivered"),
    ),
    _rate(
        "blast_open_rate",
        "Open rate of blasts",
        "Share of delivered messages that all got alike that were opened.",
        "blasts opened / blasts delivered",
        _OPENS + _OF_GROUP,
        Proportion("blasts_opened", "blasts_delivered"),
    ),
    _rate(
        "personalized_click_rate",
        "Click-through rate of personalized messages",
        "Share of delivered personalized messages in which something was clicked.",
        "personalized messages with at least one click / personalized messages delivered",
        _CLICKS + _OF_GROUP,
        Proportion("personalized_messages_clicked", "personalized_messages_delivered"),
    ),
    _rate(
        "blast_click_rate",
        "Click-through rate of blasts",
        "Share of delivered messages that all got alike in which something was clicked.",
        "blasts with at least one click / blasts delivered",
        _CLICKS + _OF_GROUP,
        Proportion("blasts_clicked", "blasts_delivered"),
    ),
    _rate(
        "message_bounce_rate",
        "Bounce rate of messages",
        "Share of messages that came back and were never opened.",
        "messages that bounced and were not opened / messages sent",
        "Of messages of which nothing but the sending is told it is not known where they went: they count as sent. ",
        Proportion("messages_bounced", "messages"),
        is_up_good=False,
    ),
    _rate(
        "message_unsubscribe_rate",
        "Unsubscriptions by message",
        "Share of delivered messages by which somebody left the list.",
        "messages unsubscribed by / messages delivered",
        "Whoever marks a message as spam instead is not seen here. ",
        Proportion("messages_unsubscribed", "messages_delivered"),
        is_up_good=False,
    ),
)

FAMILY: Final = Family("messages", "Messages", "What becomes of what is sent.", MEASURES, METRICS)
