"""Sets the wall clock of a Python process wrong, by LYNCEUS_TEST_CLOCK_OFFSET_S seconds: a fault, for tests.

Python runs it before anything else when its folder is on PYTHONPATH. It moves `time.time` and `time.time_ns`, which is
what the worker, Faust and aiokafka ask; `time.monotonic` goes on as it does on a machine with a wrong clock, and what C
code asks for itself (the times in log lines) stays right. Nothing of the product knows of it.
"""

import os
import time

_OFFSET_NS = int(float(os.environ.get("LYNCEUS_TEST_CLOCK_OFFSET_S", "0")) * 1e9)
_time_ns = time.time_ns


def _wrong_ns() -> int:
    return _time_ns() + _OFFSET_NS


def _wrong() -> float:
    return _wrong_ns() / 1e9


time.time_ns, time.time = _wrong_ns, _wrong
