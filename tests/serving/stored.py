"""Writes the state of a partition as the worker does: cells, head, directory, slices, layout, heartbeat."""

from collections.abc import Sequence

import redis as redis_client

from stream_app.core import cells
from stream_app.core.aggregation import Cells
from stream_app.core.cells import Alive, Head, partition_key
from stream_app.core.events import Impression
from stream_app.core.slices import Slice
from stream_app.core.tally import Occasion
from stream_app.metrics.catalogue import PLAN

APP, TOPIC = "lynceus", "lynceus.events"
NOW_MS = 1_763_770_000_000
"""When the tests happen: a multiple of ten seconds."""
HOME = Slice("home.hero", "personalized", "none", "none", "web", "phone")
HOLDOUT = HOME._replace(arm="holdout")
LAYOUT = list(PLAN.columns)


def seen(at_ms: int, relevance: float | None = None) -> Impression:
    """Return an impression, which is what measures of impressions are lifted from."""
    return Impression(id="i", ts=at_ms, user="u", decision="d", item="A", position=1, relevance=relevance)


class Partition:
    """One partition as a worker would keep it. Mutable state: its cells, what it stored last."""

    def __init__(
        self, client: "redis_client.Redis", number: int = 0, slices: Sequence[Slice] = (HOME, HOLDOUT)
    ) -> None:
        self.client, self.number, self.slices = client, number, list(slices)
        self.cells = Cells(PLAN)
        self.offset = self.newest_ms = 0
        self.incarnation, self.config, self.layout = b"one", b"cfg", LAYOUT
        self.outcomes = {"counted": 0}

    @property
    def key(self) -> str:
        return partition_key(APP, TOPIC, self.number)

    def count(
        self, at_ms: int, slice_: Slice, impressions: int, clicks: int = 0, relevance: float | None = None
    ) -> None:
        """Count impressions, and clicks on them, in one pane."""
        number = self.slices.index(slice_)
        shown = seen(at_ms, relevance)
        for _ in range(impressions):
            self.cells.add(at_ms, number, Occasion.IMPRESSION, shown)
        for _ in range(clicks):
            self.cells.add(at_ms, number, Occasion.CLICK, None)
        self.newest_ms = max(self.newest_ms, at_ms)
        self.offset += impressions + clicks
        self.outcomes["counted"] += impressions + clicks

    def write(self, at_ms: int = NOW_MS, lag: int = 0, **head: object) -> None:
        """Write a checkpoint: what changed, and the heartbeat."""
        fields: dict[str, bytes] = self.cells.take_changes()
        removed = self.cells.take_removed()
        known = {"applied": self.offset, "newest_ms": self.newest_ms, "floor_ms": self.cells.floor_ms}
        fields |= {
            cells.OFFSET: str(self.offset).encode(),
            cells.HEAD: cells.pack(Head(**{**known, "outcomes": self.outcomes, **head})),
            cells.DIRECTORY: cells.pack(self.cells.sequences),
            cells.SLICES: cells.pack(self.slices),
            cells.LAYOUT: cells.pack(self.layout),
            cells.INCARNATION: self.incarnation,
            cells.CONFIG: self.config,
            cells.ALIVE: cells.pack(Alive(at_ms, "host-1", self.offset + lag, at_ms)),
        }
        pipe = self.client.pipeline()
        pipe.hset(self.key, mapping=fields)
        if removed:
            pipe.hdel(self.key, *removed)
        pipe.execute()


def packed_cells(
    counted: Sequence[tuple[int, Slice, int, int]],
) -> tuple[tuple[Slice, ...], dict[str, bytes]]:
    """Count (at, slice, impressions, clicks), and return the slices and the fields as a worker packs them."""
    slices = tuple(dict.fromkeys(slice_ for _, slice_, *_ in counted))
    kept = Cells(PLAN)
    for at_ms, slice_, impressions, clicks in counted:
        for occasion, times in ((Occasion.IMPRESSION, impressions), (Occasion.CLICK, clicks)):
            for _ in range(times):
                kept.add(at_ms, slices.index(slice_), occasion, seen(at_ms))
    return slices, kept.take_changes()
