"""All that a program says, by any logger or on its outputs: to see that no secret is among it."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence


class _Everything(logging.Handler):
    """Keeps each record of every logger but some as text, its traceback included."""

    def __init__(self, but: Sequence[str]) -> None:
        super().__init__(level=logging.DEBUG)
        self.lines: list[str] = []
        self._but = frozenset(but)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in self._but:
            self.lines.append(f"{self.format(record)} {record.__dict__!r}")


@contextlib.contextmanager
def all_output(but: Sequence[str] = ()) -> Iterator[Callable[[], str]]:
    """Everything logged at DEBUG by any logger but those, and printed, inside the block."""
    handler, printed = _Everything(but), io.StringIO()
    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    before = [(logger, logger.level, logger.disabled) for logger in (logging.root, *loggers)]
    for logger, _, _ in before:
        logger.disabled = False
        logger.setLevel(logging.DEBUG)
        if logger is logging.root or not logger.propagate:
            logger.addHandler(handler)
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield lambda: "\n".join([*handler.lines, printed.getvalue()])
    finally:
        for logger, level, disabled in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.disabled = disabled
