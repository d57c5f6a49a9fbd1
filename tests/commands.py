"""`lynceus` as a person runs it: a process with an environment, its words, and how long it took."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 300.0
AT_ONCE = 2


class Ran(NamedTuple):
    """What a command did."""

    status: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def words(self) -> str:
        """Everything it said."""
        return self.stdout + self.stderr


def environ_of(given: Mapping[str, str], temporary: Path) -> dict[str, str]:
    """Return our environment with these settings of Lynceus and no others; temporary files go to `temporary`."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LYNCEUS_")}
    temporary.mkdir(exist_ok=True)
    return inherited | {"TMPDIR": str(temporary), "COLUMNS": "200"} | dict(given)


def lynceus(*words: str) -> list[str]:
    """Return the command line of a command."""
    return [sys.executable, "-m", "stream_app", *words]


def run(words: Iterable[str], given: Mapping[str, str], directory: Path) -> Ran:
    """Run a command to its end in `directory`; what is temporary goes to the folder `temporary` beside it."""
    began = time.monotonic()
    done = subprocess.run(
        lynceus(*words),
        cwd=directory,
        env=environ_of(given, directory.with_name("temporary")),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def run_all(commands: Iterable[str], given: Mapping[str, str], directory: Path) -> dict[str, Ran]:
    """Run several commands, some at once: most of their time is their start."""
    commands = list(commands)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(commands, pool.map(lambda one: run(one.split(), given, directory), commands), strict=True))
