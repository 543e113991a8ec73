"""Logging of a server process: structured lines on standard error, where no output of a command goes."""

import logging
import sys

import structlog

from api.settings import LogLevel


def configure_logging(level: LogLevel) -> None:
    """Send everything of at least `level` to standard error, in colour where that is a terminal.

    Libraries that log by the standard library show warnings and worse.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s [%(levelname)s] %(name)s: %(message)s")
