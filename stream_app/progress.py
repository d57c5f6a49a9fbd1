"""Progress bars on a terminal; silent everywhere else."""

from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """A progress bar as a function of how much is done, and of how much there is once that is known."""

    def __init__(self, console: Console, total: int | None, what: str = "replaying", *, is_bytes: bool = False) -> None:
        """`total` is None when nobody knows. With `is_bytes`, what is counted are bytes."""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn() if is_bytes else MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(what, total=total)

    def __call__(self, done: int, total: int | None = None) -> None:
        """Show how much is done."""
        self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
