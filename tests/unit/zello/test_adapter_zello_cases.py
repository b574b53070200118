"""What Zello servers send, each a folder under tests/cases/zello; adding one needs no code.

config.toml: `origin` (captured, published or made) and `about`. input.jsonl: one text message in
each line. expected.json: what each is, or `{error, where}`.
"""

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adapters.zello import wire

CASES = Path(__file__).parents[2] / "cases" / "zello"


def _read(line: str) -> dict[str, Any]:
    try:
        message = wire.decode_text(line)
    except wire.MalformedMessageError as error:
        return {"error": error.reason, "where": error.where}
    return {"message": type(message).__name__} | dataclasses.asdict(message)


@pytest.mark.parametrize("case", sorted(CASES.iterdir()), ids=lambda case: case.name)
def test_case(case: Path) -> None:
    config = tomllib.loads((case / "config.toml").read_text("utf-8"))
    assert config["origin"] in ("captured", "published", "made")
    assert config["about"]
    lines = (case / "input.jsonl").read_text("utf-8").splitlines()
    expected = json.loads((case / "expected.json").read_text("utf-8"))
    assert [_read(line) for line in lines] == expected
