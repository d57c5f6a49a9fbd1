"""The one exception that a person is meant to read: what is wrong, with what value, and what to do about it."""


class LynceusError(Exception):
    """A broken promise of the surroundings: configuration, Kafka, Redis, a file, a port.

    The command line prints `message` and `remedy` on one line and exits with 1; nothing else catches it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return the single line that is shown: message, then remedy."""
        return f"{self.message.rstrip(chr(46))}. {self.remedy}" if self.remedy else self.message
