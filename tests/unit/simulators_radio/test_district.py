"""A whole district in this process, and the control API over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from plain_master import PlainMaster

from simulators import scenario
from simulators.control import Control
from simulators.district import District

FILE = """
homebrew:
  master: {{port: {port}}}
  repeaters:
    - {{id: 460011, passphrase: s3cret, radios: [{{id: 1001, alias: Li}}, {{id: 1002}}]}}
    - {{id: 460012, passphrase: s3cret, radios: [{{id: 2001}}]}}
zello:
  accounts: {{gateway: g4te}}
  channels: [巡逻, Duty]
  phones: [{{name: wang}}, {{name: lee, channels: [Duty]}}]
{more}
"""


def read(master: PlainMaster, more: str = "") -> scenario.Scenario:
    return scenario.parse(FILE.format(port=master.address[1], more=more))


class Remote:
    """A client of the control API."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def post(self, path: str, **body: Any) -> tuple[int, dict[str, Any]]:
        async with self.session.post(self.url + path, json=body) as response:
            return response.status, await response.json()

    async def state(self) -> dict[str, Any]:
        async with self.session.get(self.url + "/state") as response:
            state = await response.json()
        assert isinstance(state, dict)
        return state


@pytest.fixture
async def district(master: PlainMaster) -> AsyncIterator[District]:
    async with District(read(master)) as running:
        for repeater in running.repeaters.values():
            await repeater.wait_signed_in()
        yield running


@pytest.fixture
async def remote(district: District) -> AsyncIterator[Remote]:
    async with Control(district) as control, aiohttp.ClientSession() as session:
        yield Remote(session, control.url)


async def test_addresses(district: District) -> None:
    addresses = district.addresses()
    assert addresses["homebrew"] == [
        {"repeater": 460011, "radios": [1001, 1002]},
        {"repeater": 460012, "radios": [2001]},
    ]
    assert addresses["zello"] == [district.zello[0].url]
    assert (addresses["onvif"], addresses["rtsp"]) == ([], [])


async def test_radio_by_remote(master: PlainMaster, remote: Remote) -> None:
    assert await remote.post("/radios/1001/press", talkgroup=101) == (200, {"pressed": True})
    assert await remote.post("/radios/1002/press", talkgroup=5) == (409, {"pressed": False})
    state = await remote.state()
    one, two, other = state["radios"]
    assert (one["pressing"], two["refused"], other["heard"]) == (True, 1, [])
    assert two["heard"][0]["source"] == 1001
    assert two["heard"][0]["ended_by"] == ""
    assert await remote.post("/radios/1001/release") == (200, {"pressing": False})
    assert master.of(b"DMRD")[-1][15] == 0x22
    await remote.post("/radios/1001/press", talkgroup=101, slot=2, seconds=0.01)
    await master.until(lambda: master.of(b"DMRD")[-1][15] == 0xA2)
    await remote.post("/radios/1002/press", talkgroup=101)
    assert await remote.post("/radios/1002/vanish") == (200, {"pressing": False})


async def test_phone_by_remote(district: District, remote: Remote) -> None:
    lee = district.phones["lee"]
    assert await remote.post("/phones/wang/press", channel="Duty") == (200, {"pressed": True})
    assert (await remote.post("/phones/lee/press", channel="Duty"))[0] == 409
    assert (await remote.state())["phones"][0]["talking_on"] == "Duty"
    assert await remote.post("/channels/Duty/end_stream") == (200, {"ended": True})
    assert await remote.post("/phones/wang/press", channel="巡逻", seconds=0.02) == (
        200,
        {"pressed": True},
    )
    await district.zello[0].log.wait("stop", count=2)
    await remote.post("/phones/wang/press", channel="Duty")
    await remote.post("/phones/wang/release")
    assert (await lee.wait_heard(2, ended=True)).sender == "wang"
    await remote.post("/phones/wang/text", channel="Duty", text="收到")
    assert lee.texts[0].text == "收到"
    kinds = [record["kind"] for record in (await remote.state())["zello"][0]["log"]]
    assert kinds.count("start") == 3


async def test_repeater_by_remote(district: District, remote: Remote) -> None:
    assert await remote.post("/repeaters/460012/unplug") == (200, {"state": "off"})
    assert [one["signed_in"] for one in (await remote.state())["repeaters"]] == [True, False]
    await remote.post("/repeaters/460012/plug")
    await district.repeaters[460012].wait_signed_in()
    await remote.post("/repeaters/460012/loss", ratio=0.5)
    assert district.repeaters[460012].network.loss == 0.5
    assert await remote.post("/zello/drop_connections") == (200, {"dropped": 0})


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/radios/7/press", {"talkgroup": 1}, 404, "there is no radio 7"),
        ("/radios/1001/press", {}, 422, "talkgroup: Field required"),
        ("/radios/1001/press", {"talkgroup": 1, "slot": 3}, 422, "slot: "),
        ("/radios/1001/press", {"talkgroup": 1, "more": 3}, 422, "more: "),
        ("/radios/1001/dance", {}, 404, "Not Found"),
        ("/phones/nobody/release", {}, 404, "there is no phone nobody"),
        ("/phones/lee/press", {"channel": "巡逻"}, 404, "there is no channel 巡逻"),
        ("/phones/lee/text", {"channel": "Duty", "text": ""}, 422, "text: "),
        ("/cameras/none/power", {"on": True}, 404, "there is no camera none"),
        ("/repeaters/1/plug", {}, 404, "there is no repeater 1"),
        ("/channels/none/end_stream", {}, 404, "there is no channel none"),
    ],
)
async def test_what_the_remote_refuses(
    remote: Remote, path: str, body: dict[str, Any], status: int, text: str
) -> None:
    answer = await remote.post(path, **body)
    assert answer[0] == status
    assert answer[1]["error"].startswith(text)


async def test_web_pages_are_kept_out(remote: Remote) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example:80"}):
        async with remote.session.get(remote.url + "/state", headers=headers) as response:
            assert response.status == 403
    async with remote.session.post(remote.url + "/radios/1001/press", data="{") as response:
        assert response.status == 422


async def test_cameras_by_remote(tmp_path: Path) -> None:
    text = f"""
cameras:
  clip_cache: {tmp_path}
  onvif:
    - {{name: gate, username: a, password: b, main_size: [160, 96], sub_size: [160, 96], fps: 2}}
  rtsp:
    - {{name: old, username: a, password: b, main_size: [160, 96], sub_size: [160, 96], fps: 2}}
timeline:
  - {{action: power_off, camera: old}}
  - {{action: event, camera: gate, kind: motion, active: true}}
"""
    async with (
        District(scenario.parse(text)) as district,
        Control(district) as control,
        aiohttp.ClientSession() as session,
    ):
        remote = Remote(session, control.url)
        await district.run_timeline()
        cameras = (await remote.state())["cameras"]
        assert [(one["name"], one["kind"], one["on"]) for one in cameras] == [
            ("gate", "onvif", True),
            ("old", "rtsp", False),
        ]
        assert district.addresses()["onvif"] == [cameras[0]["url"]]
        assert await remote.post("/cameras/gate/power", on=False) == (200, {"on": False})
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(cameras[0]["url"])


async def test_the_network_of_a_repeater_on_the_timeline(master: PlainMaster) -> None:
    more = """
timeline:
  - {action: duplicate, repeater: 460012, ratio: 0.25}
  - {action: reorder, repeater: 460012, ratio: 0.5}
  - {action: delay, repeater: 460012, seconds: 0.2}
"""
    async with District(read(master, more)) as district:
        await district.run_timeline()
        network = district.repeaters[460012].network
        assert (network.duplicate, network.reorder, network.delay_s) == (0.25, 0.5, 0.2)
        assert (network.loss, district.repeaters[460011].network.delay_s) == (0, 0)


async def test_timeline_repeats_and_survives_a_busy_channel(master: PlainMaster) -> None:
    more = """
timeline:
  - {every_s: 0.05, action: talk, radio: 1001, talkgroup: 101, seconds: 0}
  - {action: press, phone: wang, channel: Duty}
  - {at_s: 0.02, action: text, phone: wang, channel: Duty, text: hi}
  - {at_s: 0.04, action: press, phone: lee, channel: Duty}
  - {at_s: 0.06, action: end_stream, channel: Duty}
  - {at_s: 0.08, action: loss, repeater: 460012, ratio: 1}
  - {at_s: 0.10, action: unplug, repeater: 460012}
  - {at_s: 0.12, action: plug, repeater: 460012}
  - {at_s: 0.14, action: press, radio: 2001, talkgroup: 101}
  - {at_s: 0.16, action: vanish, radio: 2001}
  - {at_s: 0.18, action: press, radio: 2001, talkgroup: 101, slot: 2}
  - {at_s: 0.20, action: release, radio: 2001}
  - {at_s: 0.20, action: release, phone: wang}
  - {at_s: 0.22, action: drop_connections}
"""
    async with District(read(master, more)) as district:
        timeline = asyncio.create_task(district.run_timeline())
        await master.until(lambda: len([d for d in master.of(b"DMRD") if d[15] == 0x22]) >= 3)
        lee = district.phones["lee"]
        assert (await lee.wait_heard(ended=True)).sender == "wang"
        assert lee.refused == 1
        other = district.radios[2001]
        await district.repeaters[460012].changes.until(
            lambda: (
                other.last_talk is not None
                and other.last_talk.heard.slot == 2
                and other.last_talk.ended.done()
            )
        )
        assert district.repeaters[460012].network.loss == 1
        timeline.cancel()
        await asyncio.wait([timeline])
    assert len(asyncio.all_tasks()) == 1
