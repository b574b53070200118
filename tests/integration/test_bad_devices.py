"""Devices that are wrong, on a gateway that runs: each gets one sentence saying what and where,
and everything else goes on."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from demo import Answer, Demo, running_demo
from patience import wait_until

from simulators.homebrew_repeater import Repeater
from simulators.onvif_camera import CameraSpec, OnvifFleet, Quirks
from simulators.zello_server import ZelloServer

pytestmark = pytest.mark.timeout(180)

PASSWORD = "planted camera password"
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """A demo of our own: others count its devices."""
    with running_demo("--cameras", "1", "--no-traffic") as it:
        yield it


@pytest.fixture
def ask(demo: Demo) -> Callable[..., Any]:
    """Ask as an admin without holding the loop of the simulators up."""
    token = demo.token("admin")

    async def call(method: str, path: str, body: Any = None, version: int = 0) -> Answer:
        headers = {"If-Match": f'"{version}"'} if version else {}
        return await asyncio.to_thread(
            demo.ask, method, path, token=token, body=body, headers=headers
        )

    return call


def camera(name: str, **quirks: Any) -> CameraSpec:
    return CameraSpec(
        name=name,
        username="admin",
        password=PASSWORD,
        serial=f"BAD-{name}",
        manufacturer="Hutong",
        model="Bad",
        firmware="1",
        quirks=Quirks(**quirks),
    )


@pytest.fixture
async def cameras() -> AsyncIterator[OnvifFleet]:
    specs = [camera("good"), camera("garbage", garbage=True), camera("silent", silent=True)]
    async with OnvifFleet(specs, discovery_port=None) as fleet:
        yield fleet


def body_of(fleet: OnvifFleet, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "adapter": "onvif",
        "endpoint": fleet.cameras[name].device_url,
        "username": "admin",
        "password": PASSWORD,
        "organization": "shenhe",
        **changes,
    }


@pytest.mark.parametrize(
    ("name", "changes", "status", "said"),
    [
        ("good", {"password": "wrong"}, 422, "it refused the user name or password"),
        ("garbage", {}, 503, "it answered GetSystemDateAndTime with no HTTP"),
        ("silent", {}, 503, "no answer to GetSystemDateAndTime within"),
    ],
)
async def test_a_bad_camera_is_refused_with_its_address_and_nothing_is_kept(
    ask: Callable[..., Any],
    cameras: OnvifFleet,
    name: str,
    changes: dict[str, Any],
    status: int,
    said: str,
) -> None:
    before = (await ask("GET", "/devices")).body["total"]
    body = body_of(cameras, name, **changes)
    answer = await ask("POST", "/devices", body)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["endpoint"] in answer.body["detail"]
    assert said in answer.body["detail"]
    assert PASSWORD not in str(answer.body)
    assert (await ask("GET", "/devices")).body["total"] == before


async def test_nobody_at_the_address_is_refused_with_it(ask: Callable[..., Any]) -> None:
    body = {"adapter": "onvif", "endpoint": "http://127.0.0.1:9/onvif/device_service"}
    answer = await ask("POST", "/devices", {**body, "organization": "shenhe"})
    assert answer.status == 503
    assert answer.body["detail"] == f"{body['endpoint']}: no connection to it: Connection refused"


async def test_a_camera_that_turns_bad_is_offline_with_the_reason(
    ask: Callable[..., Any], cameras: OnvifFleet
) -> None:
    answer = await ask("POST", "/devices", body_of(cameras, "good"))
    assert answer.status == 201, answer.body
    device, point = answer.body["id"], answer.body["created"][0]["point"]

    async def until(status: str) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found: dict[str, Any] = (await ask("GET", f"/points/{point}")).body
                if found["status"] == status:
                    return found

    try:
        await until("online")
        await cameras.cameras["good"].power(False)
        offline = await until("offline")
        # Where a camera is, is the integrators' business.
        assert offline["status_reason"]
        assert "127.0.0.1" not in offline["status_reason"]
        told = (await ask("GET", f"/devices/{device}")).body["last_error"]
        assert told.startswith(cameras.cameras["good"].device_url)
        picture = await ask("GET", f"/points/{point}/snapshot.jpg")
        assert picture.status == 503
        assert "127.0.0.1" not in str(picture.body)
        await cameras.cameras["good"].power(True)
        assert (await until("online"))["status_reason"] == ""
    finally:
        await ask("DELETE", f"/devices/{device}")


# --- radio ----------------------------------------------------------------------------------------


async def master(ask: Callable[..., Any]) -> tuple[str, int]:
    systems = (await ask("GET", "/systems")).body["items"]
    settings = next(each["settings"] for each in systems if each["adapter"] == "homebrew")
    return "127.0.0.1", settings["port"]


async def until_said(demo: Demo, text: str) -> str:
    await wait_until(lambda: text in demo.said(), timeout_s=PATIENCE_S, what=text)
    return next(line for line in demo.said().splitlines() if text in line)


async def test_a_wrong_passphrase_is_told_once_not_at_every_attempt(
    demo: Demo, ask: Callable[..., Any]
) -> None:
    address = await master(ask)

    def refused_again_and_again() -> None:
        number = (469999).to_bytes(4, "big")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.settimeout(PATIENCE_S)
            peer.connect(address)
            for _ in range(50):
                peer.send(b"RPTL" + number)
                salt = peer.recv(100)[-4:]
                peer.send(b"RPTK" + number + hashlib.sha256(salt + b"wrong").digest())
                assert peer.recv(100)[:6] == b"MSTNAK"

    await asyncio.to_thread(refused_again_and_again)
    line = await until_said(demo, "repeater 469999 sent a wrong passphrase")
    assert "127.0.0.1" in line
    assert demo.said().count("repeater 469999 sent a wrong passphrase") <= 3


async def test_malformed_datagrams_are_counted_and_the_next_talk_goes_through(
    demo: Demo, ask: Callable[..., Any]
) -> None:
    trunk = await master(ask)
    lines = demo.said().count("\n")
    scenario = yaml.safe_load((Path(demo.ready["data_dir"]) / "scenario.yaml").read_text())
    passphrase = scenario["homebrew"]["repeaters"][0]["passphrase"]
    async with Repeater(id=469998, passphrase=passphrase, master=trunk) as site:
        await site.wait_signed_in()
        for kind in ("word only", "short", "long", "frame type 3", "burst 9", "not ASCII") * 20:
            site.send_malformed(kind)
        await until_said(demo, "malformed")
        assert site.radio(3101001, "Zhang").press(3101, slot=1)
        channel = next(
            each
            for each in (await ask("GET", "/channels")).body["items"]
            if each["address"] == "1/3101"
        )
        async with asyncio.timeout(PATIENCE_S):
            while True:
                state = (await ask("GET", f"/channels/{channel['id']}")).body["state"]
                if state["floor"] == "taken":
                    break
        await site.radio(3101001).release()
    assert demo.said().count("\n") - lines < 12


async def test_a_ptt_server_that_refuses_us_is_told_with_its_address(
    demo: Demo, ask: Callable[..., Any]
) -> None:
    async with ZelloServer(accounts={"gateway": "secret"}, channels=["Duty"]) as server:
        server.refuse_logon = "invalid password"
        await ptt_system(ask, server.url)
        line = await until_said(demo, f"{server.url}: ")
        assert "refused" in line
        assert "planted secret" not in demo.said()


async def test_a_ptt_server_that_is_not_there_is_told_with_its_address(
    demo: Demo, ask: Callable[..., Any]
) -> None:
    await ptt_system(ask, "ws://127.0.0.1:9/ws")
    line = await until_said(demo, "ws://127.0.0.1:9/ws: ")
    assert "cannot connect: Connection refused" in line
    assert "Traceback" not in demo.said()


async def ptt_system(ask: Callable[..., Any], url: str) -> None:
    """A system with one channel, which starts when both are there."""
    body = {
        "adapter": "zello",
        "name": f"bad {url}",
        "organization": "shenhe",
        "enabled": False,
        "settings": {"url": url, "username": "gateway", "password": "planted secret"},
    }
    system = (await ask("POST", "/systems", body)).body
    channel = {"system": system["id"], "address": "Duty", "name": "Duty", "organization": "shenhe"}
    assert (await ask("POST", "/channels", channel)).status == 201
    started = await ask("PATCH", f"/systems/{system['id']}", {"enabled": True}, system["version"])
    assert started.status == 200, started.body
