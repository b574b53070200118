"""Discovery over real datagrams on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from adapters.errors import InvalidSettings
from adapters.events import Found, Scope
from adapters.onvif import discovery, ws_discovery
from simulators.onvif_camera import OnvifFleet

ANSWER = """<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Body><d:ProbeMatches><d:ProbeMatch>
<a:EndpointReference><a:Address>{reference}</a:Address></a:EndpointReference>
<d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/name/gate</d:Scopes>
<d:XAddrs>{address}</d:XAddrs></d:ProbeMatch></d:ProbeMatches></s:Body></s:Envelope>"""


def answer(reference: str, address: str) -> bytes:
    return ANSWER.format(reference=reference, address=address).encode()


class Responder(asyncio.DatagramProtocol):
    """Answers every probe with the same datagrams, and counts them by their sender's port."""

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = answers
        self.probes: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.probes.append(data)
        for each in self.answers:
            self.transport.sendto(each, addr)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def responding(
    answers: list[bytes], *, group: bool = True
) -> AsyncIterator[tuple[Responder, int]]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((ws_discovery.GROUP if group else "127.0.0.1", 0))
    if group:
        member = socket.inet_aton(ws_discovery.GROUP) + socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
    loop = asyncio.get_running_loop()
    transport, responder = await loop.create_datagram_endpoint(
        lambda: Responder(answers), sock=sock
    )
    try:
        yield responder, sock.getsockname()[1]
    finally:
        transport.close()


async def found_in(scope: Scope) -> list[Found]:
    return [each async for each in discovery.discover(scope)]


def loopback(port: int, timeout_s: float = 0.2) -> Scope:
    return Scope(interfaces=("127.0.0.1",), port=port, timeout_s=timeout_s)


async def test_cameras_answer_by_multicast_on_loopback(fleet: OnvifFleet) -> None:
    found = {each.name: each for each in await found_in(loopback(fleet.discovery_port or 0))}
    assert set(found) == {"gate", "fixed"}
    gate = fleet.cameras["gate"]
    assert found["gate"].endpoint == gate.device_url
    assert found["gate"].endpoint_reference == gate.spec.endpoint_reference
    assert "1 East Lane" in found["gate"].location


async def test_cameras_answer_by_unicast_in_a_subnet(fleet: OnvifFleet) -> None:
    scope = Scope(subnets=("127.0.0.0/30",), port=fleet.discovery_port or 0, timeout_s=0.3)
    assert {each.name for each in await found_in(scope)} == {"gate", "fixed"}


async def test_a_device_is_found_once_and_junk_is_left_out() -> None:
    answers = [
        b"junk",
        answer("urn:uuid:A", "http://127.0.0.1:1/onvif/device_service"),
        answer("urn:uuid:a", "http://127.0.0.2:1/onvif/device_service"),
        answer("", "http://127.0.0.1:2/onvif/device_service"),
        answer("", "http://127.0.0.1:2/onvif/device_service"),
    ]
    async with responding(answers) as (responder, port):
        found = await found_in(loopback(port, timeout_s=0.3))
    assert [each.endpoint for each in found] == [
        "http://127.0.0.1:1/onvif/device_service",
        "http://127.0.0.1:2/onvif/device_service",
    ]
    assert len(responder.probes) == 2, "a probe is said twice, for UDP loses one"
    assert responder.probes[0] == responder.probes[1]


async def test_finds_come_while_it_is_still_looking() -> None:
    answers = [answer("urn:uuid:a", "http://127.0.0.1:1/onvif/device_service")]
    async with responding(answers) as (_, port):
        async with asyncio.timeout(30):
            finding = discovery.discover(loopback(port, timeout_s=60))
            first = await anext(finding)
            await finding.aclose()  # type: ignore[attr-defined]
    assert first.endpoint_reference == "urn:uuid:a"


async def test_leaving_early_leaves_no_task_and_no_socket() -> None:
    before = asyncio.all_tasks()
    answers = [answer("urn:uuid:a", "http://127.0.0.1:1/onvif/device_service")]
    async with responding(answers) as (_, port):
        async with contextlib.aclosing(
            discovery.discover(loopback(port, timeout_s=60))  # type: ignore[type-var]
        ) as finding:
            await anext(finding)
        assert asyncio.all_tasks() == before


async def test_more_answers_than_it_holds_are_dropped_and_counted() -> None:
    held = discovery._Answers()
    for _ in range(10_000):
        held.datagram_received(b"x", ("127.0.0.1", 1))
    assert held.dropped == 10_000 - 8_192


async def test_a_subnet_is_probed_at_a_bounded_rate() -> None:
    async with responding([], group=False) as (responder, port):
        began_s = asyncio.get_running_loop().time()
        scope = Scope(subnets=("127.0.0.0/25",), port=port, timeout_s=0.0)
        assert await found_in(scope) == []
        took_s = asyncio.get_running_loop().time() - began_s
    assert took_s >= 120 / discovery.PROBES_PER_S
    assert len(responder.probes) == 1


@pytest.mark.parametrize(
    ("scope", "says"),
    [
        (Scope(interfaces=("192.0.2.1",)), "not an IPv4 address of this machine"),
        (Scope(interfaces=("eth0",)), "not an IPv4 address of this machine"),
        (Scope(subnets=("10.0.0.0/99",)), "not an IPv4 subnet"),
        (Scope(subnets=("10.0.0.0/8",)), "more than 65536 addresses"),
    ],
)
async def test_a_wrong_scope_is_refused_in_words(scope: Scope, says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        await found_in(scope)


def test_all_interfaces_include_loopback() -> None:
    assert "127.0.0.1" in discovery.own_interfaces()
