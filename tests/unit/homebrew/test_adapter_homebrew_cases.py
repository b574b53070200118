"""What repeaters send, each a folder under tests/cases/homebrew; adding one needs no code.

config.toml: `origin` (captured, published or made) and `about`. input.txt: lines of seconds and a
datagram in hex; a line of seconds alone lets time pass; ``#`` begins a comment. expected.json:
`messages`, what each datagram is, and `talks`, what is told of talks when all repeaters are
signed in.
"""

import dataclasses
import enum
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adapters.homebrew import wire
from adapters.homebrew.air import Air, Change

CASES = Path(__file__).parents[2] / "cases" / "homebrew"


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {"message": type(value).__name__} | {key: _plain(it) for key, it in parts.items()}
    if isinstance(value, bytes):
        return value.hex()
    return value.name if isinstance(value, enum.Enum) else value


def _told(change: Change, now_s: float) -> dict[str, Any]:
    talk = change.talk
    told: dict[str, Any] = {"at_s": now_s, "step": change.step.value, "address": talk.address}
    flags = [name for name in ("emergency", "encrypted", "late_entry") if getattr(talk, name)]
    return told | {"talker": talk.source_id, "stream": talk.stream, "flags": flags}


def _read(text: str) -> dict[str, Any]:
    air = Air(1.0, lambda burst, now_s: None)
    messages: list[Any] = []
    talks: list[dict[str, Any]] = []
    for line in text.splitlines():
        seconds, _, datagram = line.partition("#")[0].strip().partition(" ")
        if not seconds:
            continue
        now_s = float(seconds)
        talks += [_told(change, now_s) for change in air.expire(now_s)]
        if not datagram:
            continue
        try:
            message = wire.decode(bytes.fromhex(datagram))
        except wire.MalformedPacketError as error:
            messages.append({"error": error.reason, "offset": error.offset})
            continue
        messages.append(_plain(message))
        if isinstance(message, wire.Dmrd):
            talks += [_told(change, now_s) for change in air.hear(message, now_s)]
    return {"messages": messages, "talks": talks}


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_case(case: Path) -> None:
    config = tomllib.loads((case / "config.toml").read_text("utf-8"))
    assert config["origin"] in ("captured", "published", "made")
    assert config["about"]
    read = _read((case / "input.txt").read_text("utf-8"))
    assert read == json.loads((case / "expected.json").read_text("utf-8"))
