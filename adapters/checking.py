"""Runs the contract of one installed adapter package, and tells a person what came of it.

``python -m adapters.checking KIND``, which is what ``hutong adapter check KIND`` runs in a process
of its own: whatever the package leaves behind ends with it. Exit codes: 0 it keeps the contract,
1 it does not, 2 there is nothing to check.
"""

import contextlib
import importlib.util
import inspect
import io
import logging
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from adapters.base import SEAM_VERSION, Adapter
from adapters.catalog import BUILT_IN, CONTRACTS, ENTRY_POINTS, kind_of

if TYPE_CHECKING:
    from adapters.testing import AdapterContract

KEPT, BROKEN, NOTHING = 0, 1, 2
CHECK_LASTS_S = 120.0
"""A check that blocks the loop itself is ended after this."""


class NotChecked(Exception):
    """One sentence saying why there is nothing to check, or no way; and the exit code."""

    def __init__(self, message: str, code: int = NOTHING) -> None:
        super().__init__(message)
        self.code = code


class _Blocked(BaseException):
    """No check can suppress it."""


def contract_of(kind: str) -> "tuple[type[Adapter], type[AdapterContract]]":
    """The adapter of an installed package, and the contract that the package says it keeps.

    Raises: NotChecked.
    """
    if kind in {each.name for each in BUILT_IN}:
        raise NotChecked(
            f"{kind} comes with the gateway, and its contract with the gateway's tests"
        )
    point = _installed(ENTRY_POINTS, kind, "adapter")
    known = kind_of(point)
    if known.unavailable:
        raise NotChecked(known.unavailable, BROKEN)
    if importlib.util.find_spec("pytest") is None:
        raise NotChecked("the contract needs pytest: install it beside the package", BROKEN)
    from adapters.testing import AdapterContract

    named = _installed(CONTRACTS, kind, "contract")
    try:
        contract = named.load()
    except Exception as error:  # importing runs somebody else's code
        reason = f"the contract of {kind} ({named.value}) cannot be imported"
        raise NotChecked(f"{reason}: {type(error).__name__}: {error}", BROKEN) from error
    if not (isinstance(contract, type) and issubclass(contract, AdapterContract)):
        reason = "is no subclass of adapters.testing.AdapterContract"
        raise NotChecked(f"the contract of {kind} ({named.value}) {reason}", BROKEN)
    if inspect.isabstract(contract):
        raise NotChecked(f"the contract of {kind} ({named.value}) does not say its peer", BROKEN)
    return known.load(), contract


def _installed(group: str, kind: str, what: str) -> EntryPoint:
    found = entry_points(group=group, name=kind)
    if found:
        return next(iter(found))
    others = sorted(point.name for point in entry_points(group=group))
    there = f"; there are {', '.join(others)}" if others else ""
    raise NotChecked(
        f"no installed package names the {what} {kind!r} as an entry point of the group"
        f" {group!r}{there}"
    )


def checks_of(contract: type) -> list[str]:
    """The names of its checks, in the order in which they are written, the base's first."""
    names = [name for one in reversed(contract.__mro__) for name in vars(one)]
    return [name for name in dict.fromkeys(names) if name.startswith("test_")]


def check(kind: str, out: TextIO) -> int:
    """Run every check of a kind, writing a line for each. Returns the exit code."""
    try:
        adapter, contract = contract_of(kind)
        if contract().peer().adapter is not adapter:
            raise NotChecked(f"the peer of {kind} is for another class than {adapter!r}", BROKEN)
    except NotChecked as reason:
        out.write(f"{reason}\n")
        return reason.code
    can = ", ".join(sorted(adapter.capabilities)) or "only run"
    out.write(f"{kind}: {adapter.__module__}.{adapter.__qualname__}, can {can}\n")
    names, failed = checks_of(contract), 0
    width = max(len(_words(name)) for name in names)
    for name in names:
        began = time.monotonic()
        wrong = _run(getattr(contract(), name))
        failed += bool(wrong)
        verdict = "FAILED" if wrong else "ok"
        out.write(f"  {_words(name):{width}}  {verdict:6} {time.monotonic() - began:5.1f} s\n")
        for line in wrong:
            out.write(f"      {line}\n")
        out.flush()
    kept = f"keeps the contract, version {SEAM_VERSION} of the seam"
    out.write(f"{kind} {f'breaks {failed} of {len(names)} checks' if failed else kept}\n")
    return BROKEN if failed else KEPT


def _words(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _run(one: Callable[[], None]) -> list[str]:
    """Why a check failed, for a person; nothing when it did not."""
    said = io.StringIO()
    try:
        with _ended_when_blocked(), contextlib.redirect_stdout(said):
            one()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # pytest's own outcomes are no Exceptions
        return list(_told(error))
    return []


def _told(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _told(each)
        return
    if isinstance(error, _Blocked):
        yield f"it was still busy after {CHECK_LASTS_S:g} s, and blocked everything"
    elif str(error):
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        yield from (kind + str(error)).splitlines()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.line]
    if not frames:
        return
    last = frames[-1]
    if not str(error):
        yield f"{type(error).__name__}: {last.line}"
    yield f"at {last.filename}:{last.lineno}, in {last.name}"


@contextlib.contextmanager
def _ended_when_blocked() -> Iterator[None]:
    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Blocked

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, CHECK_LASTS_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("python -m adapters.checking KIND\n")
        return NOTHING
    logging.basicConfig(level=logging.CRITICAL)
    return check(arguments[0], sys.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
