"""Logs: structlog for ours and, through it, for the libraries'. Console on a terminal, JSON lines otherwise."""

import logging
import sys
from collections.abc import Callable
from typing import Literal

import structlog

from stream_app import settings as configuration
from stream_app.settings import Settings


class _Counted(logging.Handler):
    def __init__(self, count: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._count = count

    def emit(self, record: logging.LogRecord) -> None:
        self._count("error" if record.levelno >= logging.ERROR else "warning")


QUIET = {
    # Libraries that report at info, or as errors, what is routine here.
    "aiokafka": logging.ERROR,
    "kafka": logging.CRITICAL,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
    # Faust's services log under the module that defines them; our own messages come under `lynceus`.
    "stream_app": logging.WARNING,
    "aiohttp.access": logging.WARNING,
    "asyncio": logging.ERROR,
}


def configure(form: Literal["auto", "console", "json"], level: str, count: Callable[[str], None] | None = None) -> None:
    """Set logging up, once per process; `count` is told the level of each warning and error."""
    is_console = form == "console" or (form == "auto" and sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if is_console:
        # Plain tracebacks: the rich ones print local variables, and with them what may be secret.
        last = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.processors.format_exc_info],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last]
            if is_console
            else [
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler, *([_Counted(count)] if count else [])]
    root.setLevel(level.upper())
    for name, at_least in QUIET.items():
        logging.getLogger(name).setLevel(at_least)


def configured() -> Settings:
    """Return the settings of the environment, with logging set up as they say. Raises LynceusError for bad ones."""
    settings = configuration.load()
    configure(settings.log_format, settings.log_level)
    return settings
