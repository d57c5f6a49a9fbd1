"""How far a file has been delivered, in a small file beside it: what `--resume` continues from."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Final

from stream_app.errors import LynceusError

_VERSION: Final = 1


class Bookmark:
    """One file's progress under one purpose. What it says is only ever less than what was delivered, never more."""

    def __init__(self, path: Path, purpose: dict[str, Any]) -> None:
        """`purpose` names what is being done with which file: progress of anything else is not continued."""
        self.path = path
        self._purpose = {"version": _VERSION, **purpose}

    def read(self) -> dict[str, Any]:
        """Return what was written last, nothing when nothing was.

        Raises LynceusError when it belongs to something else, or is no bookmark.
        """
        try:
            content = json.loads(self.path.read_bytes())
            progress = content["progress"]
            if content["purpose"] != self._purpose or not isinstance(progress, dict):
                raise LynceusError(
                    f"{self.path} is the progress of something else", f"Leave out --resume, or remove {self.path.name}"
                )
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LynceusError(f"{self.path}: {error.strerror}", "Make it readable, or leave out --resume") from None
        except (ValueError, KeyError, TypeError):
            raise LynceusError(f"{self.path} is damaged", "Remove it, and leave out --resume") from None
        return progress

    def write(self, progress: dict[str, Any]) -> None:
        """Replace what is written, whole. Raises LynceusError when the folder cannot be written."""
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            beside.write_text(json.dumps({"purpose": self._purpose, "progress": progress}) + "\n", encoding="utf-8")
            os.replace(beside, self.path)  # the word for what happens: all of it, or nothing
        except OSError as error:
            raise LynceusError(
                f"{self.path} cannot be written: {error.strerror}", "Copy the file into a folder that can be written"
            ) from None

    def forget(self) -> None:
        """Begin anew. Raises LynceusError when there is a progress that cannot be removed."""
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise LynceusError(f"{self.path} cannot be removed: {error.strerror}", "Remove it") from None


def beginning_of(path: Path) -> str:
    """Return what tells a file from another of the same name: how its first 4 kB read."""
    try:
        with path.open("rb") as file:
            return hashlib.blake2b(file.read(4096), digest_size=16).hexdigest()
    except OSError as error:
        raise LynceusError(f"{path} cannot be read: {error.strerror}", "Name a readable file") from None
