"""Hearing Hello on the multicast group, over real datagrams on loopback."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
from patience import wait_until

from adapters.errors import InvalidSettings, ProtocolViolation
from adapters.events import Found, Scope
from adapters.onvif import ws_discovery
from adapters.onvif.adapter import OnvifAdapter
from simulators.onvif_camera import CameraSpec, OnvifFleet

HELLO = """<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"
 xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><s:Body><d:{what}>
<a:EndpointReference><a:Address>urn:uuid:1</a:Address></a:EndpointReference>
<d:Types>{types}</d:Types><d:XAddrs>http://10.0.0.9/onvif/device_service</d:XAddrs>
</d:{what}></s:Body></s:Envelope>"""


def message(what: str = "Hello", types: str = "dn:NetworkVideoTransmitter") -> bytes:
    return HELLO.format(what=what, types=types).encode()


def test_a_hello_names_the_device_that_has_come() -> None:
    found = ws_discovery.hello(message(), "10.0.0.9")
    assert found == Found(
        endpoint="http://10.0.0.9/onvif/device_service",
        endpoint_reference="urn:uuid:1",
        answered_from="10.0.0.9",
    )


@pytest.mark.parametrize(
    "other", [message("Bye"), message("ProbeMatch"), message(types="pr:Printer"), b"junk", b""]
)
def test_other_messages_of_the_group_are_none(other: bytes) -> None:
    assert ws_discovery.hello(other, "10.0.0.9") is None


def test_a_hello_that_is_no_document_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        ws_discovery.hello(b"<Hello", "10.0.0.9")


@contextlib.asynccontextmanager
async def listening(port: int) -> AsyncIterator[list[Found]]:
    heard: list[Found] = []
    scope = Scope(interfaces=("127.0.0.1",), port=port)

    async def follow() -> None:
        async with contextlib.aclosing(OnvifAdapter.announcements(scope)) as found:  # type: ignore[type-var]
            async for each in found:
                heard.append(each)  # noqa: PERF401 - it never ends

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    try:
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])


def say(data: bytes, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        sock.sendto(data, (ws_discovery.GROUP, port))


async def test_a_camera_with_power_again_is_heard(tmp_path: object) -> None:
    spec = CameraSpec(
        name="gate",
        username="u",
        password="p",
        serial="S1",
        manufacturer="Hutong",
        model="Simulated",
        firmware="1",
        main_size=(160, 128),
        sub_size=(128, 96),
        fps=5,
    )
    async with OnvifFleet([spec], clip_cache=tmp_path, discovery_port=0) as cameras:  # type: ignore[arg-type]
        camera = cameras.cameras["gate"]
        assert cameras.discovery_port
        async with listening(cameras.discovery_port) as heard:
            await camera.power(False)
            say(b"<Hello", cameras.discovery_port)  # junk disturbs nobody
            await camera.power(True)
            await wait_until(lambda: heard)
        assert [each.endpoint for each in heard] == [camera.device_url]
        assert heard[0].endpoint_reference == spec.endpoint_reference


async def test_an_interface_that_is_not_ours_is_refused() -> None:
    scope = Scope(interfaces=("192.0.2.1",), port=45_454)
    with pytest.raises(InvalidSettings, match="45454"):
        async for _ in OnvifAdapter.announcements(scope):
            pass
