"""Log lines: one format, the request id in each, and no key's secret in any."""

from __future__ import annotations

import logging
import logging.config
from datetime import datetime

from pythonjsonlogger.json import JsonFormatter

from service.api.http.request_context import current_request_id, current_trace_id
from service.keys import mask
from service.settings import Settings

TEXT = "%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s"
JSON = "%(asctime)s %(levelname)s %(name)s %(request_id)s %(message)s"
NAMES = {"uvicorn.error": "uvicorn"}
"""Loggers whose own names mislead: uvicorn says with `error` whatever is no access."""


class LineFilter(logging.Filter):
    """Adds the id of the request being served, and takes away what is not to be logged."""

    def __init__(self, clients: bool) -> None:
        """`clients` lets the addresses of clients pass."""
        super().__init__()
        self._clients = clients

    def filter(self, record: logging.LogRecord) -> bool:
        """Complete the record; every line passes."""
        record.request_id = current_request_id.get()
        if trace_id := current_trace_id.get():
            record.trace_id = trace_id
        record.name = NAMES.get(record.name, record.name)
        record.__dict__.pop("color_message", None)  # uvicorn's, with escape codes
        if not self._clients:
            record.__dict__.pop("client", None)
            if str(getattr(record, "principal", "")).startswith("address:"):
                record.principal = "anonymous"
        return True


class NoTracebackText(logging.Filter):
    """The application reports its own failed start; uvicorn would repeat it as the text of a traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a line passes."""
        return not record.getMessage().startswith("Traceback")


class TextFormatter(logging.Formatter):
    """Lines for people: of a request also its problem, the time it took, its key and, where set, its client."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a line, without the secret of any key."""
        return mask(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Write the line's text."""
        text = super().formatMessage(record)
        if trace_id := getattr(record, "trace_id", ""):
            text += f" trace {trace_id}"
        if not hasattr(record, "milliseconds"):
            return text
        code, key, client = (getattr(record, name, "") for name in ("code", "key", "client"))
        parts = (code, f"{record.milliseconds} ms", key and f"key {key}", client and f"from {client}")
        return " ".join([text, *filter(None, parts)])

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Write the time as ISO 8601 does, with its zone."""
        return iso_time(record)


class JsonLinesFormatter(JsonFormatter):
    """One JSON object a line, with the fields given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a line, without the secret of any key."""
        return mask(super().format(record))

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Write the time as ISO 8601 does, with its zone."""
        return iso_time(record)


def iso_time(record: logging.LogRecord) -> str:
    """Return a record's time in this machine's zone, to the millisecond, as in 2026-11-26T06:41:31.741+01:00."""
    return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def configure(settings: Settings) -> None:
    """Send all logs to standard error in the format and from the level that the settings ask for."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {
                "line": {"()": LineFilter, "clients": settings.logs.clients},
                "no_traceback_text": {"()": NoTracebackText},
            },
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
                    "filters": ["line"],
                }
            },
            "root": {"level": settings.logs.level.upper(), "handlers": ["stderr"]},
            # The middleware writes a better access log: with ids, without query strings.
            "loggers": {
                "uvicorn.access": {"level": "WARNING"},
                "alembic": {"level": "WARNING"},
                "faiss.loader": {"level": "WARNING"},  # says at each start which builds it has not found
                "uvicorn.error": {"filters": ["no_traceback_text"]},
            },
        }
    )
