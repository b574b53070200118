"""WS-Discovery of the simulated cameras, on loopback and a free port."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from video_peers import PROBE, onvif_fleet, onvif_spec, prober, texts, until

from simulators.onvif_camera import CameraSpec, OnvifFleet, Quirks, soap
from simulators.onvif_camera.discovery import Probe, read_probe

VIDEO = "<d:Types>dn:NetworkVideoTransmitter</d:Types>"
FIVE = [onvif_spec(f"c{i}", host=f"127.0.4.{i}", location="North Gate") for i in range(1, 6)]


def fleet_of(*specs: CameraSpec, port: int = 0) -> OnvifFleet:
    return onvif_fleet(specs, discovery_port=port)


@pytest.mark.parametrize("inside", [VIDEO, "", "<d:Types/>"])
async def test_every_camera_answers_once(inside: str) -> None:
    async with fleet_of(*FIVE) as fleet, prober(fleet.discovery_port or 0) as peer:
        await peer.probe(inside)
        answers = [await peer.receive() for _ in FIVE]
        found = {texts(a, "XAddrs")[0]: a for a in answers}
        assert set(found) == {camera.device_url for camera in fleet.cameras.values()}
        camera = fleet.cameras["c2"]
        answer = found[camera.device_url]
        reference = "".join(answer.find(".//{*}EndpointReference").itertext())  # type: ignore[union-attr]
        assert reference == camera.spec.endpoint_reference
        assert "onvif://www.onvif.org/name/c2" in texts(answer, "Scopes")[0].split()
        assert "onvif://www.onvif.org/hardware/Dome%204" in texts(answer, "Scopes")[0]
        assert "onvif://www.onvif.org/location/North%20Gate" in texts(answer, "Scopes")[0]
        assert texts(answer, "MetadataVersion") == ["1"]
        assert texts(answer, "RelatesTo")[0].startswith("uuid:")


@pytest.mark.parametrize(
    ("inside", "names"),
    [
        ("<d:Types>dn:NetworkVideoDisplay</d:Types>", set()),
        ("<d:Scopes>onvif://www.onvif.org/name/c3</d:Scopes>", {"c3"}),
        ("<d:Scopes>onvif://www.onvif.org/location/Nowhere</d:Scopes>", set()),
        ("<d:Scopes>onvif://www.onvif.org/name</d:Scopes>", {"c1", "c2", "c3", "c4", "c5"}),
    ],
)
async def test_only_what_was_asked_for_answers(inside: str, names: set[str]) -> None:
    async with fleet_of(*FIVE) as fleet, prober(fleet.discovery_port or 0) as peer:
        await peer.probe(inside)
        await until(lambda: fleet.probes == 1)
        await peer.probe("<d:Scopes>onvif://www.onvif.org/name/c1</d:Scopes>")
        urls = {camera.device_url: name for name, camera in fleet.cameras.items()}
        found = [urls[texts(await peer.receive(), "XAddrs")[0]] for _ in range(len(names) + 1)]
        assert sorted(found) == sorted([*names, "c1"])


async def test_a_probe_to_one_host_is_answered_by_that_host() -> None:
    async with fleet_of(*FIVE) as fleet, prober(fleet.discovery_port or 0) as peer:
        await peer.probe(VIDEO, to="127.0.4.4")
        assert texts(await peer.receive(), "XAddrs") == [fleet.cameras["c4"].device_url]


async def test_hello_and_bye_and_no_answer_while_off() -> None:
    async with fleet_of(*FIVE[:2]) as fleet:
        port = fleet.discovery_port or 0
        first, second = fleet.cameras.values()
        heard: list[etree._Element] = []
        async with Listening(port, heard):
            await first.power(False)
            await until(lambda: len(heard) == 1)
            async with prober(port) as peer:
                await peer.probe(VIDEO)
                assert texts(await peer.receive(), "XAddrs") == [second.device_url]
                await until(lambda: len(heard) == 2)  # the probe went to the group as well
            await first.power(True)
            await until(lambda: len(heard) == 3)
    bye, _, hello = heard
    for message, name in ((bye, "Bye"), (hello, "Hello")):
        assert texts(message, "Action") == [
            f"http://schemas.xmlsoap.org/ws/2005/04/discovery/{name}"
        ]
        assert first.spec.endpoint_reference in texts(message, "Address")
    assert texts(hello, "XAddrs") == [first.device_url]


class Listening:
    """Another member of the group on the same port, as another process would be."""

    def __init__(self, port: int, heard: list[etree._Element]) -> None:
        self._port, self._heard = port, heard

    async def __aenter__(self) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("239.255.255.250", self._port))
        member = socket.inet_aton("239.255.255.250") + socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        heard = self._heard

        class Ear(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: object) -> None:
                heard.append(etree.fromstring(data))

        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(Ear, sock=sock)

    async def __aexit__(self, *exc: object) -> None:
        self._transport.close()
        await asyncio.sleep(0)


async def test_two_fleets_share_the_port() -> None:
    async with fleet_of(FIVE[0]) as one:
        port = one.discovery_port or 0
        async with fleet_of(FIVE[1], port=port) as two, prober(port) as peer:
            await peer.probe(VIDEO)
            found = {texts(await peer.receive(), "XAddrs")[0] for _ in range(2)}
            assert found == {one.cameras["c1"].device_url, two.cameras["c2"].device_url}


async def test_junk_and_repeated_probes_are_ignored() -> None:
    async with fleet_of(FIVE[0]) as fleet, prober(fleet.discovery_port or 0) as peer:
        loop = asyncio.get_running_loop()
        group = ("239.255.255.250", peer.port)
        same = PROBE.format(id="same", inside=VIDEO).encode()
        for data in (b"junk", b"", same, same, b"<!DOCTYPE a><a/>"):
            await loop.sock_sendto(peer.sock, data, group)
        assert texts(await peer.receive(), "RelatesTo") == ["uuid:same"]
        await peer.probe(VIDEO)
        assert texts(await peer.receive(), "RelatesTo") != ["uuid:same"]
        assert fleet.probes == 2


async def test_a_hung_device_is_still_discovered() -> None:
    hung = onvif_spec("hung", quirks=Quirks(silent=True))
    async with fleet_of(hung) as fleet, prober(fleet.discovery_port or 0) as peer:
        await peer.probe(VIDEO)
        assert texts(await peer.receive(), "XAddrs") == [fleet.cameras["hung"].device_url]


@given(st.binary() | st.text().map(lambda t: PROBE.format(id=soap.text(t), inside="").encode()))
def test_any_datagram_is_a_probe_or_none(data: bytes) -> None:
    probe = read_probe(soap.Reader(), data)
    assert probe is None or isinstance(probe, Probe)
