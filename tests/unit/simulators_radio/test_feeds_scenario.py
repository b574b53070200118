"""Recorders and hosts of a scenario file, on a real broker."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from brokers import RunningBroker
from patience import wait_until

from gateway.bus.link import connect
from simulators import scenario
from simulators.__main__ import _parser, _wanted
from simulators.control import Control
from simulators.district import District
from simulators.scenario import BadScenario

FILE = """
feeds:
  broker: {{host: 127.0.0.1, port: {port}, username: "{username}", password: "{password}"}}
  trunk_recorders:
    - name: east
      typing: strings
      sites: [{{sys_num: 0, sys_name: north}}, {{sys_num: 1, sys_name: south, site_id: 2}}]
      units: [{{id: 804329, alias: Port. 329}}, {{id: 804330, site: south}}]
  mmdvm_hosts:
    - {{name: hotspot, dialect: src, client_id: MMDVMHost-1, units: [{{id: 3180202}}]}}
timeline:
  - {{at_s: 0, action: talk, feed: east, unit: 804329, talkgroup: 3029, seconds: 0.2}}
  - {{at_s: 0, action: talk, feed: hotspot, unit: 3180202, talkgroup: 9, slot: 2, seconds: 0.2}}
  - {{at_s: 0.1, action: press, feed: east, unit: 804330, talkgroup: 4000, emergency: true}}
  - {{at_s: 0.3, action: release, feed: east, unit: 804330}}
"""


async def test_a_scenario_tells_of_its_units_on_the_broker(embedded_broker: RunningBroker) -> None:
    at = embedded_broker.address
    said: list[tuple[str, dict[str, object]]] = []

    def hear(topic: str, payload: bytes) -> None:
        said.append((topic, json.loads(payload)))

    text = FILE.format(port=at.port, username=at.username, password=at.password)
    async with connect(at, "listener", hear) as link:
        for pattern in ("units/+/+", "hotspot/json"):
            await link.subscribe(pattern, 0)
        async with District(scenario.parse(text)) as district:
            assert district.addresses()["feeds"] == ["east", "hotspot"]
            async with asyncio.timeout(30):
                await district.run_timeline()
            calls = [document for topic, document in said if topic.endswith("/call")]
            assert [topic for topic, _ in said if topic.startswith("units/")] == [
                "units/north/call",
                "units/south/call",
            ]
            assert calls[0]["call"]["unit"] == "804329"  # type: ignore[index]
            await wait_until(lambda: any("end" in json.dumps(d) for _, d in said))
            assert not district.feeds["east"].radio(804330).pressing


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("{action: talk, feed: west, unit: 1, talkgroup: 1, seconds: 1}", "no feed 'west'"),
        ("{action: press, feed: east, unit: 2, talkgroup: 1}", "east has no unit 2"),
        ("{action: silence, feed: east}", "silence takes active, feed"),
    ],
)
def test_a_step_that_cannot_be_done_is_told(step: str, problem: str) -> None:
    text = f"feeds: {{trunk_recorders: [{{name: east, units: [{{id: 1}}]}}]}}\ntimeline: [{step}]"
    with pytest.raises(BadScenario, match=problem):
        scenario.parse(text)


def test_a_unit_on_a_site_that_is_not_there_is_told() -> None:
    text = "feeds: {trunk_recorders: [{name: east, units: [{id: 1, site: west}]}]}"
    with pytest.raises(BadScenario, match="there is no site 'west'"):
        scenario.parse(text)
    with pytest.raises(BadScenario, match="a host has no sites"):
        scenario.parse("feeds: {mmdvm_hosts: [{units: [{id: 1, site: west}]}]}")


def test_the_command_line_asks_for_feeds() -> None:
    line = "radios --repeaters 0 --zello-port -1 --trunk-recorder east --mmdvm hotspot"
    options = _parser().parse_args([*line.split(), "--broker", "10.0.0.1:1884"])
    wanted = _wanted(options)
    assert (wanted.feeds.broker.host, wanted.feeds.broker.port) == ("10.0.0.1", 1884)
    assert [part.name for part in wanted.feeds.trunk_recorders] == ["east"]
    assert [len(part.units) for part in wanted.feeds.mmdvm_hosts] == [2]


async def test_a_broker_that_is_not_there_is_an_error_of_the_address(tmp_path: Path) -> None:
    wanted = scenario.parse("feeds: {broker: {port: 1}, mmdvm_hosts: [{name: m}]}")
    with pytest.raises(OSError):  # noqa: PT011
        async with District(wanted):
            pass


async def test_units_and_faults_by_remote(embedded_broker: RunningBroker) -> None:
    at = embedded_broker.address
    text = FILE.format(port=at.port, username=at.username, password=at.password)
    async with (
        District(scenario.parse(text)) as district,
        Control(district) as control,
        aiohttp.ClientSession() as session,
    ):

        async def post(path: str, **body: object) -> tuple[int, dict[str, Any]]:
            async with session.post(control.url + path, json=body) as answer:
                return answer.status, await answer.json()

        press = "/feeds/east/units/804329/press"
        assert await post(press, talkgroup=3029, emergency=True) == (200, {"pressed": True})
        assert await post(press, talkgroup=3029) == (409, {"pressed": False})
        assert await post("/feeds/east/units/804329/release") == (200, {"pressing": False})
        hotspot = "/feeds/hotspot/units/3180202/press"
        assert (await post(hotspot, talkgroup=9, slot=2, seconds=0.1))[0] == 200
        assert (await post("/feeds/west/silence", active=True))[0] == 404
        assert (await post("/feeds/east/units/1/press", talkgroup=1))[0] == 404
        assert (await post("/feeds/east/units/804329/press"))[0] == 422
        status, state = await post("/feeds/east/silence", active=True)
        assert (status, state["silent"], district.feeds["east"].feed.silent) == (200, True, True)
        assert (await post("/feeds/east/lose_ends", active=True))[1]["no_ends"] is True
        assert (await post("/feeds/hotspot/drop"))[0] == 200
        await district.feeds["hotspot"].feed.changes.until(
            lambda: district.feeds["hotspot"].feed.connects == 2, timeout_s=10
        )
        async with session.get(control.url + "/state") as answer:
            feeds = (await answer.json())["feeds"]
        assert [feed["kind"] for feed in feeds] == ["trunk_recorder", "mmdvm"]
