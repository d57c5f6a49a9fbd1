"""One process that we start, and that never outlives us.

Servers for machines that have none (`embedded`, `apache_kafka`) are children of the process that needs them.
A child that is left behind keeps a port and a folder, so its end is promised twice: `stop` and `kill` end it
in order, and on Linux the kernel ends it when we die in any other way.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 2_000

# Runs in the child before the server replaces it. It asks the kernel (PR_SET_PDEATHSIG = 1) for SIGKILL when
# the parent dies, then looks whether the parent died before it could ask. A script rather than a preexec_fn:
# code between fork and exec of a process with threads may wait for ever on a lock that no thread is left to
# release.
_DIE_WITH_PARENT: Final = (
    "import ctypes, os, signal, sys; "
    "ctypes.CDLL(None).prctl(1, int(signal.SIGKILL)); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


class Child:
    """A running process. Its output goes to `log`; it has its own session, so Ctrl-C reaches only us."""

    def __init__(
        self, command: Sequence[str], log: Path, directory: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        """Start `command`, whose first word is a full path, in `directory`. Raises OSError.

        It gets our environment unless another is given.
        """
        self.log = log
        self._process = _start(command, log, directory, environ)

    @property
    def pid(self) -> int:
        """The process id, also after the end."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> int | None:
        """Wait for the end: the exit status (negative: the signal), or None after `timeout_s` seconds."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, timeout_s: float = 10.0) -> None:
        """Ask the process to end (SIGTERM); make it (SIGKILL) after `timeout_s` seconds."""
        self._process.terminate()
        if self.wait(timeout_s) is None:
            self.kill()

    def kill(self) -> None:
        """End the process without asking, and return when it has ended."""
        self._process.kill()
        self._process.wait()

    def wait_until(self, is_ready: Callable[[], bool], timeout_s: float) -> bool:
        """Return True once `is_ready()`, False if the process ended or `timeout_s` seconds passed first."""
        deadline = time.monotonic() + timeout_s
        while self.is_running and time.monotonic() < deadline:
            if is_ready():
                return True
            time.sleep(0.01)  # a poll: what the caller asks about has nothing to wake us with
        return False

    def tail(self) -> str:
        """Return the end of the output on one line: why a process ended is usually there."""
        with contextlib.suppress(OSError):
            return " | ".join(self.log.read_bytes()[-TAIL_BYTES:].decode("utf-8", "replace").split("\n")).strip(" |")
        return ""


def _start(
    command: Sequence[str], log: Path, directory: Path, environ: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    if sys.platform != "linux":
        return _spawn(command, log, directory, environ)
    guarded = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
    started: Future[subprocess.Popen[bytes]] = Future()

    # To the kernel the parent is the *thread* that started the child: were it a pool thread, the child would
    # die with it. So every child gets a thread of its own, which lives exactly as long as the child does.
    def attend() -> None:
        try:
            process = _spawn(guarded, log, directory, environ)
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(process)
        # WNOWAIT leaves the exit status to `Child`; it may have been collected already.
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    threading.Thread(target=attend, name=f"attend {Path(command[0]).name}", daemon=True).start()
    return started.result()


def _spawn(
    command: Sequence[str], log: Path, directory: Path, environ: Mapping[str, str] | None
) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=environ,
            start_new_session=True,
        )
