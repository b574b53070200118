"""Documents that devices send, each a folder under tests/cases/onvif; adding one needs no code.

config.toml: `origin` (captured, published or made), `about`, `reads` (one of `READERS`,
``probe_matches``, or ``events`` with the device's `sources` and `aliases`), `status` of HTTP,
`sender` of a datagram. expected.json: what is read, or `{error, says}`.
"""

import dataclasses
import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from adapters.errors import AdapterError
from adapters.onvif import events_wire, soap, wire, ws_discovery
from adapters.onvif.events_topics import Places, condition, known

CASES = Path(__file__).parents[2] / "cases" / "onvif"
READERS: dict[str, soap.Call[Any]] = {
    "clock": wire.GET_CLOCK,
    "services": wire.GET_SERVICES,
    "capabilities": wire.GET_CAPABILITIES,
    "identity": wire.GET_IDENTITY,
    "video_sources": wire.GET_VIDEO_SOURCES,
    "profiles": wire.GET_PROFILES,
    "profiles_2": wire.GET_PROFILES_2,
    "endpoint_reference": wire.GET_ENDPOINT_REFERENCE,
    "stream_uri_2": wire.get_stream_uri_2("Profile_1", "tcp"),
    "stream_uri": wire.get_stream_uri("Profile_1", "tcp"),
}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {key: _plain(part) for key, part in dataclasses.asdict(value).items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _read(config: dict[str, Any], document: bytes) -> Any:
    if config["reads"] == "probe_matches":
        return ws_discovery.probe_matches(document, config["sender"])
    if config["reads"] == "events":
        return _events(config, document)
    return soap.decode(READERS[config["reads"]], config.get("status", 200), document)


def _events(config: dict[str, Any], document: bytes) -> Any:
    """What the answer to a PullMessages tells of, of a device with these sources and aliases."""
    pull = events_wire.pull(events_wire.Subscription(address="http://it/"), "http://it/", 1)
    pulled = soap.decode(pull, 200, document)
    where = Places(sources=tuple(config["sources"]), aliases=config.get("aliases", {}))
    told: list[dict[str, Any]] = []
    for received in pulled.notifications:
        topic = known(received.notification.topic)
        if topic is None:
            told.append({"is": "unknown", "topic": received.notification.topic})
            again = soap.decode(pull, 200, events_wire.sample(received).encode())
            assert again.notifications[0].notification.topic == received.notification.topic
        elif event := condition(received.notification, topic, where, datetime.now(UTC)):
            fields = dataclasses.asdict(event)
            del fields["at"]
            told.append({"is": type(event).__name__, **fields})
    return {"left_s": pulled.left_s, "events": told}


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_case_reads_as_expected(case: str) -> None:
    config = tomllib.loads((CASES / case / "config.toml").read_text("utf-8"))
    assert config["origin"] in ("captured", "published", "made")
    expected = json.loads((CASES / case / "expected.json").read_text("utf-8"))
    document = (CASES / case / "input.xml").read_bytes()
    if isinstance(expected, dict) and "error" in expected:
        with pytest.raises(AdapterError) as raised:
            _read(config, document)
        assert type(raised.value).__name__ == expected["error"]
        assert raised.value.message == expected["says"]
    else:
        assert _plain(_read(config, document)) == expected
