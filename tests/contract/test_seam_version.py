"""The seam as version 1 promises it: what stands in seam-1.json stays; what comes is written down.

`python tests/contract/test_seam_version.py` writes what has come since; it refuses to write over
what is promised.
"""

import dataclasses
import enum
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

RECORD = Path(__file__).with_name("seam-1.json")


def shape() -> dict[str, Any]:
    """Every public name of the seam: what it is called with, and what it is."""
    from adapters import base, errors, events

    return {
        f"{module.__name__}.{name}": _described(getattr(module, name))
        for module in (base, errors, events)
        for name in sorted(_own(module))
    }


def _own(module: ModuleType) -> set[str]:
    """Names that the module itself makes: not those that it imports."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in ("Any", "ClassVar")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module.__name__) in (module.__name__, "types", "typing")
    }


def _described(value: Any) -> Any:
    if isinstance(value, type) and issubclass(value, enum.Enum):
        return {member.name: member.value for member in value}
    if isinstance(value, type):
        bases = [base.__name__ for base in value.__bases__ if base is not object]
        return {"bases": bases, "abstract": inspect.isabstract(value), **_members(value)}
    if callable(value) and hasattr(value, "__code__"):
        return str(inspect.signature(value))
    return type(value).__name__ if dataclasses.is_dataclass(value) else repr(value)


def _members(kind: type) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            needed = (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            )
            given = "needed" if needed else _default(field)
            members[field.name] = f"{inspect.formatannotation(field.type)} = {given}"
        return members
    for name, value in vars(kind).items():
        value = getattr(value, "__func__", value)
        if inspect.isfunction(value) and (not name.startswith("_") or name == "__init__"):
            must = "abstract " if getattr(value, "__isabstractmethod__", False) else ""
            members[name] = must + str(inspect.signature(value))
    for name, told in inspect.get_annotations(kind).items():
        if not name.startswith("_"):
            members[name] = f"{inspect.formatannotation(told)} = {vars(kind).get(name, 'needed')!r}"
    if issubclass(kind, Exception) and hasattr(kind, "retryable"):
        members["retryable"] = kind.retryable
    return members


def _default(field: "dataclasses.Field[Any]") -> str:
    made: Any = field.default_factory
    return repr(field.default) if made is dataclasses.MISSING else f"{made.__name__}()"


def broken(promised: Any, there: Any, where: str = "") -> list[str]:
    """What is promised and is not so. A field or method that came besides breaks nothing, unless
    whoever made the older ones would have to give it."""
    if not isinstance(promised, dict) or not isinstance(there, dict):
        return [] if promised == there else [f"{where}: {promised!r} has become {there!r}"]
    gone = [f"{where}.{name} has gone" for name in promised if name not in there]
    changed = [
        line
        for name in promised
        if name in there
        for line in broken(promised[name], there[name], f"{where}.{name}".strip("."))
    ]
    asked = [
        f"{where}.{name} must be given from now on"
        for name, value in there.items()
        if where and name not in promised and _is_asked(str(value))
    ]
    return [*gone, *changed, *asked]


def _is_asked(described: str) -> bool:
    return described.endswith("= needed") or described.startswith("abstract ")


def test_what_version_1_promises_is_kept() -> None:
    from adapters.base import SEAM_VERSION

    assert SEAM_VERSION == 1
    assert broken(json.loads(RECORD.read_text("utf-8")), shape()) == []


def test_what_came_to_the_seam_is_written_down() -> None:
    """So that it is promised from the version on that first has it."""
    assert json.loads(RECORD.read_text("utf-8")) == shape(), f"run python {Path(__file__).name}"


def test_a_breach_would_be_seen() -> None:
    promised = {"m.A": {"bases": [], "x": "int = 1"}, "m.f": "(a: int)"}
    assert broken(promised, promised) == []
    assert broken(promised, promised | {"m.A": promised["m.A"] | {"y": "int = 2"}}) == []  # type: ignore[operator]
    for there in (
        {"m.f": "(a: int)"},
        promised | {"m.f": "(a: str)"},
        promised | {"m.A": {"bases": [], "x": "int = 2"}},
        promised | {"m.A": {"bases": [], "x": "int = 1", "y": "int = needed"}},
        promised | {"m.A": {"bases": [], "x": "int = 1", "go": "abstract (self) -> None"}},
    ):
        assert len(broken(promised, there)) == 1
    recorded = json.loads(RECORD.read_text("utf-8"))
    assert recorded["adapters.errors.Busy"]["retryable"] is True
    assert recorded["adapters.events.FloorTaken"]["hold_s"] == "float = needed"
    assert recorded["adapters.base.Adapter"]["run"].startswith("abstract (self, emit: ")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    now = shape()
    lost = broken(json.loads(RECORD.read_text("utf-8")), now) if RECORD.exists() else []
    if lost:
        sys.exit("this asks for a new version of the seam:\n" + "\n".join(lost))
    RECORD.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", "utf-8")
