"""From a press on the trunk to a started stream at the push-to-talk server.

Repeater, radio and PTT server run in this process and share its clock; gateway and broker are
processes of their own. What the simulators take by themselves is measured beside it: a press to
the arrival of its packet, and a text and a stream's start to their record. The limit is a bare
exchange of two hops over a broker of the same kind.
"""

import asyncio
import json
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks import Row, row
from benchmarks.gateway import Gateway, percentile, running
from gateway.bus.broker import EmbeddedBroker
from gateway.bus.link import Link, connect
from simulators.homebrew_repeater import Radio, Repeater
from simulators.zello_server import Kind, ZelloServer

PRESSES = 200
TALKGROUP, SLOT = 9901, 1
PASSPHRASE = "bench"


def rows() -> list[Row]:
    with running("--cameras", "1") as gateway:
        total_ms = asyncio.run(_presses(gateway))
    own_ms = asyncio.run(_simulators_alone())
    hops_ms = asyncio.run(_two_hops())
    own_p50, own_p99 = percentile(own_ms, 0.5), percentile(own_ms, 0.99)
    p50, p99 = percentile(total_ms, 0.5), percentile(total_ms, 0.99)
    return [
        row("press to start, p50, beyond the simulators", p50 - own_p50, "ms", at_most=5,
            limit=percentile(hops_ms, 0.5)),
        row("press to start, p99, beyond the simulators' p50", p99 - own_p50, "ms", at_most=25,
            limit=percentile(hops_ms, 0.99)),
        row("press to start, everything, p50", p50, "ms"),
        row("press to start, everything, p99", p99, "ms"),
        row("the simulators' own time, p50", own_p50, "ms"),
        row("the simulators' own time, p99", own_p99, "ms"),
    ]  # fmt: skip


async def _two_hops() -> list[float]:
    """A message that is answered by another, both QoS 1, over the embedded broker."""
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedBroker(Path(folder)) as broker:
            back = asyncio.Event()
            links: list[Link] = []

            def hear(topic: str, payload: bytes) -> None:
                if topic == "hutong/v1/there":
                    links[0].publish("hutong/v1/back", payload)
                else:
                    back.set()

            async with connect(broker.address, "two-hops", hear) as link:
                links.append(link)
                await link.subscribe("hutong/v1/there", 1)
                await link.subscribe("hutong/v1/back", 1)
                times_ms = []
                for _ in range(PRESSES):
                    back.clear()
                    began_s = time.perf_counter()
                    link.publish("hutong/v1/there", b"x" * 400)
                    await back.wait()
                    times_ms.append((time.perf_counter() - began_s) * 1000)
                    await asyncio.sleep(0.02)
                return times_ms


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _presses(gateway: Gateway) -> list[float]:
    port = _free_udp_port()
    async with (
        ZelloServer(accounts={"gateway": PASSPHRASE}, channels=["Bench"]) as server,
        Repeater(id=469901, passphrase=PASSPHRASE, master=("127.0.0.1", port)) as repeater,
    ):
        await asyncio.to_thread(_register, gateway, port, server.url)
        await repeater.wait_signed_in(20)
        await server.log.until(lambda log: bool(log.of(Kind.LOGON, "gateway")), 20)
        radio = repeater.radio(3109901)
        await _once(radio, server)  # the first one waits until the bridge knows everybody
        return [await _once(radio, server) for _ in range(PRESSES)]


async def _once(radio: Radio, server: ZelloServer) -> float:
    """Press until the stream starts, let go until it ended; milliseconds to the start."""
    starts = len(server.log.of(Kind.START, "gateway"))
    stops = len(server.log.of(Kind.STOP, "gateway"))
    began_s = time.monotonic()
    assert radio.press(TALKGROUP, SLOT)
    await server.log.until(lambda log: len(log.of(Kind.START, "gateway")) > starts, 20)
    started_s = server.log.of(Kind.START, "gateway")[-1].at_s
    await radio.release()
    await server.log.until(lambda log: len(log.of(Kind.STOP, "gateway")) > stops, 20)
    return (started_s - began_s) * 1000


def _register(gateway: Gateway, port: int, url: str) -> None:
    gateway.sign_in()
    systems = [
        ("homebrew", {"port": port, "passphrase": PASSPHRASE}, f"{SLOT}/{TALKGROUP}"),
        ("zello", {"url": url, "username": "gateway", "password": PASSPHRASE}, "Bench"),
    ]
    members = []
    for adapter, settings, address in systems:
        body = {
            "adapter": adapter,
            "name": f"bench {adapter}",
            "organization": "shenhe",
            "settings": settings,
        }
        system = gateway.ask("POST", "/systems", body)
        channel = {"system": system["id"], "address": address, "name": address}
        members.append({"channel": gateway.ask("POST", "/channels", channel)["id"]})
    patch = {
        "name": "bench",
        "organization": "shenhe",
        "voice": "silence",
        "hang_s": 0,
        "members": members,
    }
    made = gateway.ask("POST", "/patches", patch)
    deadline = time.monotonic() + 20
    while not _joined(gateway.ask("GET", f"/patches/{made['id']}")):
        if time.monotonic() > deadline:
            raise RuntimeError("the bench's patch was not joined within 20 s")
        time.sleep(0.05)


def _joined(patch: Any) -> bool:
    state = patch["state"]
    return bool(state) and all(member["health"] == "ok" for member in state["members"])


async def _simulators_alone() -> list[float]:
    """A press to its packet's arrival at a bare socket, plus a start to its record."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[float] = asyncio.Queue()

    class Master(asyncio.DatagramProtocol):
        """Says yes to every sign-in, and notes when voice headers come."""

        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, peer: Any) -> None:
            if data[:4] == b"DMRD" and data[15] & 0x3F == 0x21:
                arrived.put_nowait(time.monotonic())
            elif data[:4] == b"RPTL":
                self.transport.sendto(b"RPTACK" + b"salt", peer)
            elif data[:7] == b"RPTPING":
                self.transport.sendto(b"MSTPONG" + data[7:11], peer)
            elif data[:3] == b"RPT":
                self.transport.sendto(b"RPTACK" + data[4:8], peer)

    transport, _ = await loop.create_datagram_endpoint(Master, local_addr=("127.0.0.1", 0))
    times_ms = []
    try:
        async with (
            Repeater(
                id=469902, passphrase="", master=transport.get_extra_info("sockname")
            ) as repeater,
            ZelloServer(accounts={"g": "p"}, channels=["Bench"]) as server,
            aiohttp.ClientSession() as http,
            http.ws_connect(server.url) as client,
        ):
            await repeater.wait_signed_in()
            logon = {"command": "logon", "seq": 1, "username": "g", "password": "p"}
            await client.send_json({**logon, "channels": ["Bench"]})
            await server.log.until(lambda log: bool(log.of(Kind.LOGON, "g")))
            radio = repeater.radio(1)
            for _ in range(50):
                pressed_s = time.monotonic()
                radio.press(TALKGROUP, SLOT)
                packet_s = await arrived.get() - pressed_s
                await radio.release()
                times_ms.append((packet_s + await _start(client, server)) * 1000)
    finally:
        transport.close()
    return times_ms


async def _start(client: aiohttp.ClientWebSocketResponse, server: ZelloServer) -> float:
    starts = len(server.log.of(Kind.START, "g"))
    command = {
        "command": "start_stream",
        "seq": 2,
        "channel": "Bench",
        "type": "audio",
        "codec": "opus",
        "codec_header": "gD4BPA==",
        "packet_duration": 60,
    }
    text = {"command": "send_text_message", "seq": 4, "channel": "Bench", "text": "3109901"}
    began_s = time.monotonic()
    await client.send_json(text)
    await client.send_json(command)
    await server.log.until(lambda log: len(log.of(Kind.START, "g")) > starts)
    took_s = server.log.of(Kind.START, "g")[-1].at_s - began_s
    while True:
        said = json.loads((await client.receive()).data)
        if "stream_id" in said and said.get("success"):
            stop = {"command": "stop_stream", "stream_id": said["stream_id"], "channel": "Bench"}
            await client.send_json({**stop, "seq": 3})
            return took_s
