"""JSON logs on stderr with the request and the run they belong to. Prompts and keys never go into a log call."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import sys
from collections.abc import Iterator

from pythonjsonlogger.msgspec import MsgspecFormatter

from imagineo.telemetry import tracing

_context: contextvars.ContextVar[dict[str, str] | None] = contextvars.ContextVar("imagineo_log_context", default=None)

#: The libraries whose INFO lines say nothing to an operator.
_QUIET = (
    "nats",
    "grpc",
    "asyncio",
    "httpx",
    "httpx2",
    "httpcore",
    "uvicorn.access",
    "uvicorn.error",
    "sqlalchemy",
    "alembic",
)


class _ContextFilter(logging.Filter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def filter(self, record: logging.LogRecord) -> bool:
        record.service = self._service
        if trace_id := tracing.trace_id():
            record.trace_id = trace_id
        for name, value in (_context.get() or {}).items():
            if name not in record.__dict__:
                setattr(record, name, value)
        return True


def configure(service: str, level: str = "INFO") -> None:
    """Send all logging of this process to stderr, one JSON object a line. Call once, in `__main__`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_ContextFilter(service))
    handler.setFormatter(
        MsgspecFormatter(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


@contextlib.contextmanager
def bind(**fields: str) -> Iterator[None]:
    """Add fields to every line logged inside, in this task and those it starts; empty ones say nothing.

    They are called `request_id`, `run_id` and `org_id` everywhere.
    """
    token = _context.set({**(_context.get() or {}), **{name: value for name, value in fields.items() if value}})
    try:
        yield
    finally:
        # A generator that nobody read to its end is closed in another context, where there is nothing to take back.
        with contextlib.suppress(ValueError):
            _context.reset(token)


def note(**fields: str) -> None:
    """Add fields to every line that this task logs from now on: what a request turned out to be about."""
    _context.set({**(_context.get() or {}), **fields})


def bound(name: str) -> str:
    """Read a bound field; empty where it is not bound."""
    return (_context.get() or {}).get(name, "")
