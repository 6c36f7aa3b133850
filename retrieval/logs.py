"""The API's log: one line an event, as text or as JSON, each with the id of the request that it happened in.

Nothing that a customer wrote is logged and no id of theirs: routes stand for paths, and of an error that nobody expected
its class and where it happened, since its text may hold anything.
"""

import logging
import sys
import traceback
from contextvars import ContextVar

import msgspec
from litestar.logging import LoggingConfig
from litestar.types import Logger, Scope

from stores.records import iso
from stores.settings import Settings

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
EXTRAS = ("method", "route", "status", "ms", "release", "cache", "key")
"""What a line may say beside its message, by the names that logging's `extra` gives."""


class WithRequest(logging.Filter):
    """Adds the id of the request to each line, where the line is written: whoever prints it knows no request any more."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True


class JsonLines(logging.Formatter):
    """Each line one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": iso(int(record.created * 1000)), "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if request_id := getattr(record, "request_id", ""):
            line["request_id"] = request_id
        line |= {name: getattr(record, name) for name in EXTRAS if getattr(record, name, None) is not None}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def logging_config(settings: Settings, *, expected: set[int | type[Exception]]) -> LoggingConfig:
    """How the API logs. Of what is `expected` no traceback is logged."""
    config = LoggingConfig(
        root={"level": "WARNING", "handlers": ["queue_listener"]},
        loggers={"retrieval": {"level": "INFO", "handlers": ["queue_listener"], "propagate": False}},
        filters={"request": {"()": WithRequest}},
        formatters={"standard": {"()": JsonLines}} if settings.log_format == "json" else {},
        log_exceptions="always",
        disable_stack_trace=expected,
        exception_logging_handler=unexpected,
    )
    config.handlers["queue_listener"] = config.handlers["queue_listener"] | {"filters": ["request"]}
    return config


def unexpected(logger: Logger, scope: Scope, _: list[str]) -> None:
    """Logs the error that is being handled: its class and the way to it."""
    kind, _exc, trace = sys.exc_info()
    where = "".join(traceback.format_tb(trace))
    logger.error("%s at %s\n%s", kind.__name__ if kind else "error", scope.get("path_template", "an unknown route"), where)
