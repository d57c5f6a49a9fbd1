"""Who looked and clicked last: derived from what is remembered of impressions and clicks, never stored itself."""


class LastTouches:
    """user -> impression that the user last saw or clicked; as forgetful as the table it is derived from."""

    __slots__ = ("generation", "newer", "older")

    def __init__(self, generation: int = 0) -> None:
        self.newer: dict[int, int] = {}
        self.older: dict[int, int] = {}
        self.generation = generation

    def put(self, user: int, impression: int, generation: int) -> None:
        """Note the touch; `generation` is that of the table in which the impression stands."""
        if generation != self.generation:
            self.older, self.newer, self.generation = self.newer, {}, generation
        self.newer[user] = impression

    def get(self, user: int) -> int | None:
        """Return the impression touched last, or None."""
        impression = self.newer.get(user)
        return self.older.get(user) if impression is None else impression
