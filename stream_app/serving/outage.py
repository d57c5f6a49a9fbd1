"""An outage, as it is logged: one line when something is lost and one when it is back, however often it was tried."""

from typing import Any, Final

import structlog


class Outage:
    """Mutable state: `fault`, why it is lost; "" while it is there."""

    def __init__(self, lost: str, back: str, **named: str) -> None:
        """`lost` and `back` are the two lines; `named` is logged with the first, beside the reason."""
        self._lost: Final = lost
        self._back: Final = back
        self._named: Final = named
        self._log: Any = structlog.get_logger("lynceus.server")
        self.fault = ""

    def note(self, fault: str) -> None:
        """Take note of what is wrong now; "" = nothing."""
        if fault and not self.fault:
            self._log.warning(self._lost, reason=fault, **self._named)
        elif self.fault and not fault:
            self._log.info(self._back)
        self.fault = fault
