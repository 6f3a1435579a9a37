"""Log lines: one format, the request id in each, and no key's secret in any."""

from __future__ import annotations

import logging
import logging.config

from pythonjsonlogger.json import JsonFormatter

from service.api.http.request_context import current_request_id
from service.keys import mask
from service.settings import Settings

TEXT = "%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s"
JSON = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"


class RequestIdFilter(logging.Filter):
    """Adds the id of the request being served."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id; every line passes."""
        record.request_id = current_request_id.get()
        return True


class NoTracebackText(logging.Filter):
    """The application reports its own failed start; uvicorn would repeat it as the text of a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line passes."""
        return not record.getMessage().startswith("Traceback")


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a line, without the secret of any key."""
        return mask(super().format(record))


class JsonLinesFormatter(JsonFormatter):
    """One JSON object a line, with the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a line, without the secret of any key."""
        return mask(super().format(record))


def configure(settings: Settings) -> None:
    """Send all logs to standard error in the format and from the level that the settings ask for."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"request_id": {"()": RequestIdFilter}, "no_traceback_text": {"()": NoTracebackText}},
            "formatters": {
                "text": {"()": TextFormatter, "fmt": TEXT},
                "json": {
                    "()": JsonLinesFormatter,
                    "fmt": JSON,
                    "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
                },
            },
            "handlers": {
                "stderr": {
                    "class": "logging.StreamHandler",
                    "formatter": settings.logs.format,
                    "filters": ["request_id"],
                }
            },
            "root": {"level": settings.logs.level.upper(), "handlers": ["stderr"]},
            # The edge writes a better access log: with ids, without query strings.
            "loggers": {
                "uvicorn.access": {"level": "WARNING"},
                "alembic": {"level": "WARNING"},
                "uvicorn.error": {"filters": ["no_traceback_text"]},
            },
        }
    )
