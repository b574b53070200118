"""Is what goes over the bus what docs/asyncapi.yaml says? For whatever tests hear."""

import functools
import json
import re
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft7Validator

DOCUMENT = Path(__file__).parent.parent / "docs" / "asyncapi.yaml"


@functools.cache
def document() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found: dict[str, Any] = yaml.load(DOCUMENT.read_text("utf-8"), Loader=loader)
    return found


@functools.cache
def _channels() -> tuple[tuple[re.Pattern[str], str, bool], ...]:
    """(topics, name, may an empty payload clear it) of every channel."""
    retained = {
        each["channel"]["$ref"].rsplit("/", 1)[1]: each["bindings"]["mqtt"]["retain"]
        for each in document()["operations"].values()
    }
    found = []
    for name, channel in document()["channels"].items():
        pattern = re.escape(channel["address"])
        for parameter in ("node", "id"):
            pattern = pattern.replace(re.escape(f"{{{parameter}}}"), "[a-z0-9-]+")
        pattern = pattern.replace(re.escape("{org}"), "[a-z0-9-]+(?:/[a-z0-9-]+)*")
        found.append((re.compile(pattern), name, retained[name]))
    return tuple(found)


@functools.cache
def _validator(message: str) -> Draft7Validator:
    schema = {
        "$ref": f"#/components/messages/{message}/payload",
        "components": document()["components"],
    }
    return Draft7Validator(schema, format_checker=Draft7Validator.FORMAT_CHECKER)


def faults(topic: str, payload: bytes) -> list[str]:
    """What is wrong with a message, empty when nothing is."""
    found = next((each for each in _channels() if each[0].fullmatch(topic)), None)
    if found is None:
        return [f"{topic}: no such topic in {DOCUMENT.name}"]
    _, name, retained = found
    if not payload and retained:
        return []
    try:
        value = json.loads(payload)
    except ValueError as error:
        return [f"{topic}: {error}"]
    messages = [
        each["$ref"].rsplit("/", 1)[1] for each in document()["channels"][name]["messages"].values()
    ]
    message: str | None = messages[0]
    if len(messages) > 1:
        kind = value.get("type") if isinstance(value, dict) else None
        named = {document()["components"]["messages"][each]["name"]: each for each in messages}
        message = named.get(str(kind))
    if message is None:
        return [f"{topic}: {kind!r} is no message of {name}"]
    return [
        f"{topic}: {'/'.join(map(str, each.absolute_path))}: {each.message}"
        for each in _validator(message).iter_errors(value)
    ]


class Traffic:
    """Collects what is wrong with what is heard; `check` fails with all of it."""

    def __init__(self) -> None:
        self.heard = 0
        self.kinds: set[str] = set()
        self.faults: list[str] = []

    def hear(self, topic: str, payload: bytes) -> None:
        self.heard += 1
        self.faults += faults(topic, payload)

    def check(self) -> None:
        assert not self.faults, "\n".join(dict.fromkeys(self.faults))
