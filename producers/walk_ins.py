"""Walk-ins: people nobody has seen before, who are shown nothing and buy what they came for.

Theirs are the purchases that no recommendation earned. Nothing is credited to anybody for them.
"""

from collections.abc import Iterator
from random import Random
from typing import Final

from producers.amounts import ORDER_VALUE, draw
from producers.visits import Happening, Session
from stream_app.core.events import Order, OrderLine, PageView

WALK_INS: Final = 0.005
"""Walk-ins for each session of a person."""
NEW: Final = 0.6
"""Share of walk-ins of whom the shop says that they are new customers."""


def walk_in(session: Session, chance: Random) -> Iterator[Happening]:
    """Yield what a walk-in does; `session` is theirs, all chance is that of `chance`."""
    at_ms, ts = session.begin_ms, session.begin_ms + session.skew_ms
    yield at_ms, PageView(id=f"{session.name}p", ts=ts, page="/checkout", **session.who)
    after_ms = 20_000 + chance.randrange(60_000)
    value = draw(ORDER_VALUE, chance)
    line = OrderLine(item=f"plain-{chance.randrange(20):02d}", quantity=1, price_minor=value)
    yield (
        at_ms + after_ms,
        Order(
            id=f"{session.name}b", ts=ts + after_ms, order=f"{session.name}o", currency=session.traits.currency,
            total_minor=value + value // 5, tax_minor=value // 5, lines=(line,),
            new_customer=True if chance.random() < NEW else None, **session.who,
        ),
    )  # fmt: skip
