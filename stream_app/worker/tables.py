"""Faust tables without changelogs, and the manager that therefore has nothing to recover."""

from typing import Any

import faust
from faust.tables.manager import TableManager
from faust.tables.table import Table


class StateTable(Table):
    """A table whose store is the state of record: reading it notes nothing, writing it sends nothing."""

    def on_key_get(self, key: Any) -> None:
        """Note nothing."""

    def on_key_set(self, key: Any, value: Any) -> None:
        """Send nothing."""

    def on_key_del(self, key: Any) -> None:
        """Send nothing."""

    async def on_start(self) -> None:
        """Start the store; there is no changelog topic to declare."""
        await self.add_runtime_dependency(self.data)


class StateTables(TableManager):
    """Keeps state tables out of Faust's recovery, which then resumes the streams at once."""

    def add(self, table: "faust.types.CollectionT") -> "faust.types.CollectionT":
        """Know the table, but not as one that has a changelog."""
        self.known = {**getattr(self, "known", {}), table.name: table}
        return table

    async def on_start(self) -> None:
        """Start at once: Faust waits a second here for tables that are still being declared."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
