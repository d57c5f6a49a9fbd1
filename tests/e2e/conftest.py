"""What all of these tests need on the machine."""

import pytest

from stream_app.errors import LynceusError
from tests.conftest import unavailable
from tests.e2e.alerting import programs


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    try:
        programs()
    except LynceusError as error:
        unavailable(error)
