"""What happened in a world, from the plain JSON of what arrived: grouped once, for the truth of every metric.

No code of the product is used; the pieces that the families' own recounts already have are theirs.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from tests.metrics.listing import Item, lists_of
from tests.metrics.retold import Told, grouped, is_home
from tests.metrics.test_attention_in_world import views
from tests.metrics.test_context_in_world import followed, is_contextual
from tests.metrics.test_responses_in_world import SIGNS, of_message, of_offer
from tests.metrics.test_visits_in_world import in_groups

DAY_MS = 86_400_000


class Exposed:
    """A session at a surface: what was clicked, what it bought for how much, which goals it reached."""

    def __init__(self, arm: str) -> None:
        self.arm = arm
        self.clicked: set[tuple[str, str]] = set()
        self.values: list[int] = []
        self.goals: set[str] = set()


def net(order: Told) -> int:
    """Return what an order is worth, in minor units."""
    return int(order["total_minor"] - order.get("tax_minor", 0) - order.get("shipping_minor", 0))


def earned(event: Told) -> int:
    """Return what an order or a conversion adds to revenue, in minor units of the reporting currency."""
    if not is_home(event):
        return 0
    return net(event) if event["type"] == "order" else int(event.get("value_minor", 0))


class Seen:
    """Everything that counts of one world of a day, in groups."""

    def __init__(self, values: Iterable[bytes], events: list[Told]) -> None:
        self.events = events
        by_surface_and_arm = lists_of(values)
        self.lists = [one for lists in by_surface_and_arm.values() for one in lists]
        self.holdout = [one for (_, arm), lists in by_surface_and_arm.items() if arm == "holdout" for one in lists]

    def of(self, *types: str, **fields: Any) -> list[Told]:
        """Return the events of these types that say this."""
        return [
            event
            for event in self.events
            if event["type"] in types and all(event.get(name) == said for name, said in fields.items())
        ]

    @cached_property
    def items(self) -> list[Item]:
        """Every item of every list."""
        return [item for one in self.lists for item in one]

    @cached_property
    def predicted(self) -> list[tuple[float, bool]]:
        """Each stated prediction, and whether there was a click."""
        return [(item.predicted, item.is_clicked) for item in self.items if item.predicted is not None]

    @cached_property
    def chosen(self) -> list[tuple[float, bool]]:
        """The weight of each choice of known propensity for a random one, uncut, and whether there was a click."""
        known = [(item.propensity, item.is_clicked) for item in self.items if item.propensity is not None]
        among = sum(1 / p for p, _ in known) / len(known)
        return [(1 / among / p, is_clicked) for p, is_clicked in known]

    @cached_property
    def exposures(self) -> list[Exposed]:
        """Every session at every surface."""
        found: dict[tuple[str, str], Exposed] = {}
        shown: dict[tuple[str, str], Exposed] = {}
        for event in self.of("impression"):
            exposed = found.setdefault((event["session"], event["surface"]), Exposed(event["arm"]))
            shown[event["decision"], event["item"]] = exposed
        for event in self.of("click"):
            if exposed := shown.get((event["decision"], event["item"])):
                exposed.clicked.add((event["decision"], event["item"]))
        for event in self.of("order", "conversion"):
            lines = event["lines"] if event["type"] == "order" else [event]
            quoted: Told = next((line for line in lines if "decision" in line), {})
            if exposed := shown.get((quoted.get("decision", ""), quoted.get("item", ""))):
                exposed.values.append(earned(event))
                exposed.goals.add(event.get("goal", "purchase"))
        return list(found.values())

    @cached_property
    def visits(self) -> list[dict[str, Any]]:
        """Every visit, as its family's recount tells it."""
        return [one for _, one in in_groups(self.events, lambda event: (event["user"], event["session"]))]

    @cached_property
    def views(self) -> list[list[Told]]:
        """The heartbeats of every view."""
        return [beats for _, beats in views(self.events)]

    @cached_property
    def messages(self) -> list[dict[str, int]]:
        """What each message came to."""
        return [of_message(each) for each in grouped(self.events, lambda e: (e["user"], e["message"]), "message")]

    @cached_property
    def offers(self) -> list[dict[str, int]]:
        """What each offer came to."""
        return [of_offer(each) for each in grouped(self.events, lambda e: (e["user"], e["offer"]), "offer")]

    @cached_property
    def active(self) -> set[str]:
        """Whoever did anything."""
        return {event["user"] for event in self.of(*SIGNS)}

    @cached_property
    def signals(self) -> list[tuple[Told, list[Told], list[Told], list[Told], list[Told]]]:
        """Each eligible signal: it, its decisions, those that used it, and clicks and purchases after the first."""
        found = []
        for signal, decisions, clicks, purchases in followed(sorted(self.events, key=lambda event: event["ts"])):
            if decisions:
                used = [
                    d for d in decisions
                    if d.get("context_ts", 0) >= signal["ts"] or d.get("signal") == signal["signal"]
                ]  # fmt: skip
                after = [[e for e in some if e["ts"] >= decisions[0]["ts"]] for some in (clicks, purchases)]
                found.append((signal, decisions, used, *after))
        return found  # type: ignore[return-value]  # five

    @cached_property
    def contextual(self) -> dict[str, Told]:
        """Decisions that context made, by their name."""
        return {event["decision"]: event for event in self.of("decision") if is_contextual(event)}

    @cached_property
    def orders(self) -> list[tuple[Told, int]]:
        """Each order in the reporting currency, and how much of its net value was given back."""
        back: defaultdict[str, int] = defaultdict(int)
        for refund in self.of("refund"):
            back[refund["order"]] += refund["amount_minor"]
        found = []
        for order in filter(is_home, self.of("order")):
            value, goods = net(order), net(order) + order["tax_minor"]
            kept = max(0, value - value * back[order["order"]] // goods)
            found.append((order, value - kept))
        return found

    @cached_property
    def at_risk(self) -> int:
        """How many impressions came before their session clicked there; no click is before what it is on."""
        shown = {(event["decision"], event["item"]): event for event in reversed(self.of("impression"))}
        clicked: dict[tuple[str, str], int] = {}
        for event in self.of("click"):
            if on := shown.get((event["decision"], event["item"])):
                at, where = max(event["ts"], on["ts"]), (on["session"], on["surface"])
                clicked[where] = min(at, clicked.get(where, at))
        return sum(e["ts"] < clicked.get((e["session"], e["surface"]), e["ts"] + 1) for e in self.of("impression"))

    @cached_property
    def at_first_sight(self) -> list[Told]:
        """The impression by which each session begins to see each surface."""
        return [group[0] for group in grouped(self.events, lambda e: (e["session"], e["surface"]), "impression")]

    @cached_property
    def user_days(self) -> list[list[int]]:
        """Purchases, revenue and cart adds of everybody by day on which they did something."""
        return [day for days in self.user_days_by_arm.values() for day in days]

    @cached_property
    def user_days_by_arm(self) -> dict[str, list[list[int]]]:
        """The same by the arm of whose day it is; "none" of those whom nobody assigned."""
        arms = {event["user"]: event["arm"] for event in self.events if "arm" in event}
        days: defaultdict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
        exposed = set()
        for event in self.of("impression", "order", "conversion", "cart"):
            day, kind = (event["user"], event["ts"] // DAY_MS), event["type"]
            if kind == "impression":
                if (event["session"], event["surface"]) not in exposed:
                    exposed.add((event["session"], event["surface"]))
                    days[day][0] += 0
            elif kind == "cart":
                days[day][2] += event["action"] == "add"
            else:
                days[day][0] += kind == "order" or event["goal"] == "purchase"
                days[day][1] += earned(event)
        found: defaultdict[str, list[list[int]]] = defaultdict(list)
        for (user, _), amounts in days.items():
            found[arms.get(user, "none")].append(amounts)
        return dict(found)

    @cached_property
    def carts(self) -> list[list[Told]]:
        """The adds of each cart."""
        return grouped(self.of("cart", action="add"), lambda event: event["session"], "cart")
