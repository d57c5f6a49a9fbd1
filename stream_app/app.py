"""`app`, for `faust -A stream_app.app worker`: the worker with the settings of the environment."""

import sys

from stream_app import settings as configuration
from stream_app import telemetry
from stream_app.errors import LynceusError
from stream_app.worker.app import create_app

try:
    _settings = configuration.load()
    telemetry.configure(_settings.log_format, _settings.log_level)
    app = create_app(_settings)
except LynceusError as error:
    sys.exit(f"lynceus worker: {error}")
