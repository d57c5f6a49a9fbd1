"""`lynceus render`: generated files, written where they belong, or only compared with what is there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from stream_app.errors import LynceusError
from stream_app.rendering.generated import Generated, alerting, generated
from stream_app.rendering.places import Places


def in_checkout(*, is_checked: bool) -> str:
    """Write everything that the repository holds, into the checkout that is the working folder; say what was written.

    Raises LynceusError outside of a checkout and, where it is only checked, when a file is not as it would be written.
    """
    if not Path("stream_app/metrics").is_dir():
        raise LynceusError("this folder is no checkout of Lynceus", "Change to the folder that holds stream_app")
    return _written(Path(), generated(), is_checked=is_checked)


def for_installation(folder: Path, places: Mapping[str, str | None], *, is_checked: bool) -> str:
    """Write rules and Alertmanager's configuration below `folder`, with addresses of the installation's own."""
    given = {name: url.rstrip("/") for name, url in places.items() if url}
    return _written(folder, alerting(Places(**given)), is_checked=is_checked)


def _written(folder: Path, files: Sequence[Generated], *, is_checked: bool) -> str:
    old = [each for each in files if not _holds(folder / each.path, each.content)]
    if is_checked and old:
        raise LynceusError(f"not as generated: {', '.join(each.path for each in old)}", "Run `lynceus render`")
    for each in old:
        (folder / each.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / each.path).write_text(each.content, encoding="utf-8")
    return f"wrote {', '.join(each.path for each in old)}" if old else "all is as generated"


def _holds(path: Path, content: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == content
