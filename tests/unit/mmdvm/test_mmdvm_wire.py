"""Documents of MMDVMHost: cases as folders under tests/cases/mmdvm, and any bytes.

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

from adapters.mmdvm import wire

CASES = Path(__file__).parents[2] / "cases" / "mmdvm"


def _read(line: bytes) -> dict[str, Any]:
    try:
        message = wire.decode(line)
    except wire.MalformedDocumentError as error:
        return {"error": error.reason, "where": error.where}
    fields = dataclasses.asdict(message)
    fields["at"] = message.at.isoformat() if message.at else None
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
    | st.sampled_from(["rf", "network", "start", "end", "2026-07-13T02:41:33.123Z", "yes", "no"])
)
_NAMES = st.sampled_from(
    [
        *("timestamp", "mode", "slot", "value", "source", "action", "source_id", "source_info"),
        *("destination_id", "destination_type", "frames", "duration", "loss", "ber", "rssi"),
        *("src_id", "dst_id", "group", "src_callsign", "dg-id", "state", "min", "ave", "message"),
    ]
)
_FIELDS = st.dictionaries(
    _NAMES, _SCALARS | st.lists(_SCALARS) | st.dictionaries(_NAMES, _SCALARS), max_size=10
)
_KINDS = st.sampled_from(["DMR", "P25", "NXDN", "YSF", "D-Star", "FM", "RSSI", "BER", "Text"])


@settings(max_examples=100, deadline=None)
@given(_KINDS, _FIELDS)
def test_any_document_is_read_or_refused(kind: str, fields: dict[str, Any]) -> None:
    _read(json.dumps({kind: fields}).encode())


@settings(max_examples=60, deadline=None)
@given(
    unit=st.integers(1, 0xFFFFFF),
    group=st.integers(1, 0xFFFFFF),
    slot=st.integers(1, 2),
    info=st.sampled_from(["", "KN4OQW"]),
    to_all=st.booleans(),
)
def test_both_dialects_say_the_same(
    unit: int, group: int, slot: int, info: str, to_all: bool
) -> None:
    common = {"source": "rf", "action": "start", "slot": slot}
    one = common | {
        "source_id": unit,
        "destination_id": group,
        "destination_type": "group" if to_all else "individual",
        "source_info": info,
    }
    other = common | {
        "src_id": unit,
        "dst_id": group,
        "group": "yes" if to_all else "no",
        "src_info": info,
    }
    assert _read(json.dumps({"DMR": one}).encode()) == _read(json.dumps({"DMR": other}).encode())


def test_a_document_without_end_is_refused_before_it_is_read() -> None:
    with pytest.raises(wire.MalformedDocumentError, match="bytes"):
        wire.decode(b" " * (wire.LARGEST_DOCUMENT + 1))
