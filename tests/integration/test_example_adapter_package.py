"""The example of an adapter package, as somebody else would use it: installed, checked by the
command, registered on a running gateway, and looked at live."""

import asyncio
import base64
import contextlib
import json
import re
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import av
import pytest
from adapter_packages import PATIENCE_S, ROOT, Environment, surroundings
from av.video.codeccontext import VideoCodecContext
from live_stage import texts_and_units
from websockets.asyncio.client import connect

T = TypeVar("T")
EXAMPLE = ROOT / "docs" / "examples" / "hutong-lantern"
PASSWORD = "correct horse battery"
NAT = "192.168.1.108"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    environment = Environment(tmp_path_factory.mktemp("environment"))
    environment.install(EXAMPLE)
    return environment


def test_its_own_tests_pass(environment: Environment) -> None:
    """Those beside the contract, which the next test has."""
    chosen = ("-k", "not TestLantern", "-p", "no:cacheprovider")
    tested = environment.run("-m", "pytest", "-q", *chosen, cwd=EXAMPLE)
    assert tested.returncode == 0, tested.stdout
    assert re.search(r"\d\d passed", tested.stdout)


def test_it_keeps_the_contract(environment: Environment) -> None:
    command = ("-m", "gateway.cli", "adapter", "check", "lantern")
    checked = environment.run(*command, cwd=EXAMPLE)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    first, *_, last = checked.stdout.splitlines()
    assert first.endswith("LanternAdapter, can media, probe, snapshot")
    assert last == "lantern keeps the contract, version 1 of the seam"


@contextlib.contextmanager
def started(
    environment: Environment, log: Path, *arguments: str, **settings: str
) -> Iterator["subprocess.Popen[str]"]:
    """A program of that environment; its output is in log, and it ends with the block."""
    with log.open("w") as said:
        process = subprocess.Popen(
            [str(environment.python), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env=surroundings(**settings),
            text=True,
        )
    try:
        yield process
    finally:
        # Not SIGINT: what a shell runs in the background, and all it starts, does not hear it.
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def said(process: "subprocess.Popen[str]", log: Path, pattern: str) -> "re.Match[str]":
    """Wait until the log has it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (match := re.search(pattern, log.read_text(errors="replace"))):
        assert process.poll() is None, log.read_text(errors="replace")
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.05)
    return match


@pytest.fixture(scope="module")
def recorder(
    environment: Environment, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A simulated recorder behind NAT that sees something move twice a second."""
    log = tmp_path_factory.mktemp("recorder") / "log"
    options = ("--announces", NAT, "--motion-s", "0.5")
    with started(environment, log, "-m", "hutong_lantern.simulator", *options) as process:
        yield json.loads(said(process, log, r"\{.*\}\n")[0])


@pytest.fixture(scope="module")
def gateway(environment: Environment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `hutong serve` with a database of its own."""
    folder = tmp_path_factory.mktemp("gateway")
    settings = {
        "HUTONG_DATA_DIR": str(folder / "data"),
        "HUTONG_HTTP_PORT": "0",
        "HUTONG_HELLO_INTERFACES": "127.0.0.1",
        "HUTONG_USER_PASSWORD": PASSWORD,
    }
    new_user = ("user", "add", "chief", "--role", "admin", "--organization", "d")
    log = folder / "user.log"
    command = ("-m", "gateway.cli", *new_user, "--district", "东区")
    with started(environment, log, *command, **settings) as process:
        assert process.wait(PATIENCE_S) == 0, log.read_text()
    log = folder / "log"
    with started(environment, log, "-m", "gateway.cli", "serve", **settings) as process:
        yield said(process, log, r"http://127\.0\.0\.1:\d+")[0]


class Person:
    """Somebody signed in."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url
        self.token = ""

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        url = f"{self.url}/api/v1{path}"
        async with self._session.request(method, url, json=body, headers=headers) as response:
            data = await response.read()
            return response.status, json.loads(data) if "json" in response.content_type else data


@contextlib.asynccontextmanager
async def chief(gateway: str) -> AsyncIterator[Person]:
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(cookie_jar=jar) as session:
        ask = Person(session, gateway)

        async def token() -> str:
            status, body = await ask("POST", "/auth/login", {"name": "chief", "password": PASSWORD})
            return str(body["access_token"]) if status == 200 else ""

        ask.token = await eventually(token)
        yield ask


async def eventually(look: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The first thing found that is something."""
    async with asyncio.timeout(PATIENCE_S / 2):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                if found := await look():
                    return found
            await asyncio.sleep(0.1)


async def test_a_recorder_of_the_kind_is_registered_and_seen_live(
    gateway: str, recorder: dict[str, str]
) -> None:
    async with chief(gateway) as ask:
        _, kinds = await ask("GET", "/adapters")
        kind = next(each for each in kinds["items"] if each["name"] == "lantern")
        assert kind["serves"] == "video"
        assert kind["unavailable"] is None
        assert "poll_s" in kind["settings"]["properties"]

        wish = {**recorder, "adapter": "lantern", "organization": "d", "settings": {"poll_s": 2}}
        status, device = await ask("POST", "/devices", wish)
        assert status == 201, device
        assert device["model"] == "LR-4"
        assert [NAT in note for note in device["notes"]] == [True]
        addresses = [source["address"] for source in device["sources"]]
        assert addresses == ["ch-1", "ch-2", "ch-3", "ch-4"]
        point = device["sources"][0]["point"]
        assert point

        async def online() -> bool:
            return bool((await ask("GET", f"/points/{point}"))[1]["status"] == "online")

        async def motion() -> Any:
            path = f"/events?point={point}&type=point.motion"
            return (await ask("GET", path))[1].get("items")

        await eventually(online)
        assert (await eventually(motion))[0]["data"]["active"] in (True, False)

        status, picture = await ask("GET", f"/points/{point}/snapshot.jpg")
        assert status == 200
        assert picture.startswith(b"\xff\xd8")
        await watch(ask, point, "main", (320, 192))
        await watch(ask, point, "sub", (128, 96))


async def watch(ask: Person, point: str, profile: str, size: tuple[int, int]) -> None:
    """Live view: frames come, and are pictures of that size."""
    status, live = await ask("POST", f"/points/{point}/live", {"profile": profile})
    assert status in (200, 201), live
    url = live["urls"]["frames"]
    url = url if "://" in url else f"{ask.url}{url}"
    async with connect(url.replace("http", "ws", 1), max_size=None, compression=None) as viewer:
        texts, units = await texts_and_units(viewer, 5)
    video = next(text for text in texts if text["type"] == "video")
    assert (video["width"], video["height"]) == size
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, VideoCodecContext)
    decoder.extradata = base64.b64decode(video["description"])
    pictures = [picture for unit in units for picture in decoder.decode(av.Packet(unit[10:]))]
    pictures += decoder.decode(None)
    assert [(picture.width, picture.height) for picture in pictures] == [size] * 5
