"""Logging: structlog to standard error, for people or as JSON. Events are nouns with fields."""

import contextlib
import logging
import re
import sys

import structlog

_ACCESS_TOKEN = re.compile(r"\bhutong_[A-Za-z0-9_-]{43}")
"""Nothing of ours logs one; but people paste them where something else is asked for, and what
libraries log is theirs."""


class _StandardError:
    """Writes a line to what is standard error then, not to what it was when logging began."""

    def msg(self, message: str) -> None:
        _write(message)

    log = debug = info = warn = warning = error = exception = critical = fatal = failure = msg


class _StandardErrorHandler(logging.Handler):
    """The same for what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        _write(self.format(record))


def _write(line: str) -> None:
    """What is logged to a full disk, or to nobody, must not end what it tells of."""
    line = _ACCESS_TOKEN.sub("hutong_(cut)", line)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


def configure(log_format: str = "console", level: int = logging.INFO) -> None:
    """log_format: ``console`` or ``json``. Libraries' own logs come the same way, from warning."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        last: list[structlog.types.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        # Plain tracebacks: the pretty ones print local variables, and those hold secrets.
        plain = structlog.dev.plain_traceback
        last = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
        ]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _StandardError(),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )
    handler = _StandardErrorHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
