"""docs/asyncapi.yaml against the JSON Schema that the AsyncAPI project publishes for its version.

The schema comes with npm package @asyncapi/specs, which the console's lock file pins; `make setup`
installs it.
"""

import copy
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from wire_schema import document

SCHEMAS = Path(__file__).parents[3] / "gateway/console/node_modules/@asyncapi/specs/schemas"


@functools.cache
def validator() -> Draft7Validator:
    file = SCHEMAS / f"{document()['asyncapi']}-without-$id.json"
    assert file.is_file(), "the published schema is not there: run `make setup`"
    schema = json.loads(file.read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


def faults(value: Any) -> list[str]:
    return [
        f"{'/'.join(map(str, each.absolute_path))}: {each.message[:200]}"
        for each in validator().iter_errors(value)
    ]


def test_the_document_is_what_its_version_of_asyncapi_asks_for() -> None:
    assert faults(document()) == []


def _without_title(whole: dict[str, Any]) -> None:
    del whole["info"]["title"]


def _with_an_action_that_is_none(whole: dict[str, Any]) -> None:
    next(iter(whole["operations"].values()))["action"] = "publish"


def _with_a_field_of_another_version(whole: dict[str, Any]) -> None:
    next(iter(whole["channels"].values()))["subscribe"] = {}


def _with_a_quality_of_service_that_is_none(whole: dict[str, Any]) -> None:
    next(iter(whole["operations"].values()))["bindings"]["mqtt"]["qos"] = 3


def _with_a_payload_that_is_no_schema(whole: dict[str, Any]) -> None:
    next(iter(whole["components"]["schemas"].values()))["type"] = "text"


@pytest.mark.parametrize(
    "spoil",
    [
        _without_title,
        _with_an_action_that_is_none,
        _with_a_field_of_another_version,
        _with_a_quality_of_service_that_is_none,
        _with_a_payload_that_is_no_schema,
    ],
    ids=lambda each: each.__name__.strip("_"),
)
def test_what_is_not_asyncapi_is_found(spoil: Callable[[dict[str, Any]], None]) -> None:
    whole = copy.deepcopy(document())
    spoil(whole)
    assert faults(whole)
