"""The delivery report of a tracker: how many events are in which state, and every event is in exactly one."""

from typing import NamedTuple


class DeliveryReport(NamedTuple):
    """`sent` + `recovered` = `delivered` + `pending` + `spilled` + `failed` + `refused` + `withheld`, always."""

    sent: int = 0
    """Calls with good arguments."""
    recovered: int = 0
    """Events that an earlier process had left in the spill folder."""
    delivered: int = 0
    """Acknowledged by all brokers in sync."""
    pending: int = 0
    """In memory: waiting, or on their way. They die with the process."""
    spilled: int = 0
    """On disk, not yet delivered. They survive the process."""
    failed: int = 0
    """Refused by Kafka for good, or given up by `close`."""
    refused: int = 0
    """Not taken: the buffer was full for longer than the call was willing to wait, which raised."""
    withheld: int = 0
    """Not sent for want of consent."""
    torn: int = 0
    """Lines of the spill that cannot be read: the process died while it wrote them. In no sum: nobody knows them."""
    trouble: str | None = None
    """Why nothing is delivered at the moment; None while Kafka takes events."""
    first_failure: str | None = None
    """Why the first of the failed events failed."""
    undelivered: tuple[bytes, ...] = ()
    """What `close` gave up, as canonical JSON, oldest first."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that may be sent was delivered."""
        return self.delivered + self.withheld == self.sent + self.recovered

    @property
    def adds_up(self) -> bool:
        """Whether every event is in exactly one state."""
        states = (self.delivered, self.pending, self.spilled, self.failed, self.refused, self.withheld)
        return self.sent + self.recovered == sum(states)
