"""Documents of the plugin: cases as folders under tests/cases/trunk_recorder, and any bytes.

config.toml: `origin` (captured, published or made) and `about`. input.jsonl: one document in each
line. expected.json: what each is, or `{error, where}`.
"""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.trunk_recorder import wire

CASES = Path(__file__).parents[2] / "cases" / "trunk_recorder"


def _read(line: bytes) -> dict[str, Any]:
    try:
        message = wire.decode(line)
    except wire.MalformedDocumentError as error:
        return {"error": error.reason, "where": error.where}
    fields = dataclasses.asdict(message)
    if isinstance(message, wire.TrunkingMessage):
        fields["means"] = message.means.value
    return json.loads(json.dumps({"message": type(message).__name__} | fields))  # type: ignore[no-any-return]


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_case(case: Path) -> None:
    config = tomllib.loads((case / "config.toml").read_text("utf-8"))
    assert config["origin"] in ("captured", "published", "made")
    assert config["about"]
    lines = (case / "input.jsonl").read_bytes().splitlines()
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    assert [_read(line) for line in lines] == expected


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(payload: bytes) -> None:
    _read(payload)


_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["true", "0", "999", "48685,54623", "1e400", "-1", "BEE00"])
)
_NAMES = st.sampled_from(
    [
        *("type", "timestamp", "instance_id", "status", "calls", "call", "end", "systems"),
        *("system", "rates", "message", "on", "join", "location", "opcode", "meta", "id"),
        *("sys_name", "call_num", "talkgroup", "unit", "unit_alpha_tag", "talkgroup_patches"),
        *("start_time", "stop_time", "elapsed", "call_state", "mon_state", "rec_state"),
        *("encrypted", "emergency", "conventional", "signal", "noise", "sysid", "wacn"),
    ]
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=12,
)
_KINDS = st.sampled_from(
    [
        *("calls_active", "call", "call_start", "call_end", "end", "systems", "system"),
        *("rates", "message", "on", "join", "config"),
    ]
)


@settings(max_examples=60, deadline=None)
@given(_KINDS, st.dictionaries(_NAMES, _VALUES, max_size=6))
def test_any_document_is_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    _read(json.dumps({**fields, "type": kind}).encode())


_CALL = st.fixed_dictionaries(
    {
        "sys_name": st.sampled_from(["p25trunk", "con"]),
        "call_num": st.integers(0, 1 << 31),
        "talkgroup": st.integers(0, 65535),
        "unit": st.integers(-1, 1 << 24),
        "unit_alpha_tag": st.sampled_from(["", "Port. 329"]),
        "talkgroup_patches": st.sampled_from(["", "48685,54623"]),
        "call_state": st.integers(-1, 8),
        "mon_state": st.integers(0, 7),
        "rec_state": st.integers(-1, 8),
        "start_time": st.integers(0, 1 << 33),
        "length": st.floats(0, 1000).map(lambda value: round(value, 2)),
        "encrypted": st.booleans(),
        "emergency": st.booleans(),
        "conventional": st.booleans(),
    }
)


def _as_before_2023(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _as_before_2023(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_as_before_2023(each) for each in value]
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


@settings(max_examples=60, deadline=None)
@given(st.lists(_CALL, max_size=4), st.integers(1, 1 << 32))
def test_both_typings_say_the_same(calls: list[dict[str, Any]], timestamp: int) -> None:
    document = {"type": "calls_active", "calls": calls, "timestamp": timestamp}
    strings = _as_before_2023(document)
    new = wire.decode(json.dumps(document).encode())
    assert wire.decode(json.dumps(strings).encode()) == new
    assert isinstance(new, wire.CallsActive)
    assert len(new.calls) == len(calls)


def test_a_document_without_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(wire.MalformedDocumentError, match="bytes"):
        wire.decode(b" " * (wire.LARGEST_DOCUMENT + 1))
    with pytest.raises(wire.MalformedDocumentError, match="not JSON"):
        wire.decode(b"[" * 200_000)
