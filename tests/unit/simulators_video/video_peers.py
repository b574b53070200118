"""Small clients of the tests' own: RTSP over TCP, ONVIF over HTTP, WS-Discovery."""

import asyncio
import base64
import contextlib
import datetime
import hashlib
import os
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
from lxml import etree

from simulators.onvif_camera import CameraSpec, OnvifCamera, OnvifFleet
from simulators.rtsp_camera import RtspCameraSpec, RtspFleet

SMALL = {"main_size": (160, 120), "sub_size": (120, 90), "gop_s": 1.0}
"""Sizes that encode in no time, for tests that do not look at the picture."""

clip_cache: Path | None = None
"""Set by conftest.py for the whole run."""


def rtsp_spec(name: str = "gate", **changes: object) -> RtspCameraSpec:
    values: dict[str, object] = {"username": "admin", "password": f"secret {name}", **SMALL}
    return RtspCameraSpec(name=name, **{**values, **changes})  # type: ignore[arg-type]


def onvif_spec(name: str = "gate", **changes: object) -> CameraSpec:
    values: dict[str, object] = {
        "username": "admin",
        "password": f"secret {name}",
        "serial": f"SN-{name}",
        "manufacturer": "Acme",
        "model": "Dome 4",
        "firmware": "V1.2",
        **SMALL,
    }
    return CameraSpec(name=name, **{**values, **changes})  # type: ignore[arg-type]


def rtsp_fleet(specs: Sequence[RtspCameraSpec], *, share_ports: bool = False) -> RtspFleet:
    return RtspFleet(specs, clip_cache=clip_cache, share_ports=share_ports)


def onvif_fleet(specs: Sequence[CameraSpec], discovery_port: int | None = None) -> OnvifFleet:
    return OnvifFleet(specs, clip_cache=clip_cache, discovery_port=discovery_port)


@contextlib.asynccontextmanager
async def one_camera(**changes: object) -> AsyncIterator[OnvifCamera]:
    async with onvif_fleet([onvif_spec(**changes)]) as fleet:
        yield fleet.cameras["gate"]


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - anything may be waited for
            await asyncio.sleep(0.005)


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


@dataclass
class RtspClient:
    """Asks, and takes in whatever RTP comes in between.

    packets: (channel, bytes). sequence: of the last packet of the last access unit.
    """

    url: str
    username: str = "admin"
    password: str = ""
    packets: list[tuple[int, bytes]] = field(default_factory=list)
    sequence: int = 0

    async def __aenter__(self) -> "RtspClient":
        parts = urlsplit(self.url)
        self.reader, self.writer = await asyncio.open_connection(parts.hostname, parts.port)
        self._nonce = ""
        self._cseq = 0
        self.session = ""
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def ask(self, method: str, url: str = "", **headers: str) -> Reply:
        """Send a request, with a digest when challenged before, and return the answer."""
        url = url or self.url
        self._cseq += 1
        lines = [f"{method} {url} RTSP/1.0", f"CSeq: {self._cseq}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if self._nonce and "Authorization" not in headers:
            lines.append(f"Authorization: {self._digest(method, url)}")
        if self.session and "Session" not in headers:
            lines.append(f"Session: {self.session}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode())
        reply = await self._reply()
        challenge = re.search(r'Digest .*nonce="([^"]*)"', reply.header("www-authenticate"))
        if challenge:
            self._nonce = challenge[1]
        return reply

    async def play(self, transport: str = "RTP/AVP/TCP;unicast;interleaved=0-1") -> Reply:
        """Describe, set up and play."""
        assert (await self.ask("DESCRIBE")).status == 401
        assert (await self.ask("DESCRIBE")).status == 200
        setup = await self.ask("SETUP", f"{self.url}/trackID=1", Transport=transport)
        assert setup.status == 200, setup
        self.session = setup.header("session").partition(";")[0]
        reply = await self.ask("PLAY")
        assert reply.status == 200, reply
        return reply

    async def packet(self) -> tuple[int, bytes]:
        """The next interleaved packet: channel, bytes."""
        if self.packets:
            return self.packets.pop(0)
        head = await self.reader.readexactly(4)
        assert head[0] == 0x24, head
        return head[1], await self.reader.readexactly(int.from_bytes(head[2:]))

    async def access_unit(self) -> tuple[int, list[bytes]]:
        """The next complete access unit: RTP timestamp, NAL units."""
        payloads: list[bytes] = []
        while True:
            channel, packet = await self.packet()
            if channel % 2:
                continue
            payloads.append(packet[12:])
            self.sequence = int.from_bytes(packet[2:4])
            if packet[1] & 0x80:
                return struct.unpack(">I", packet[4:8])[0], depacketize(payloads)

    def _digest(self, method: str, url: str) -> str:
        ha1 = _md5(f"{self.username}:camera:{self.password}")
        response = _md5(f"{ha1}:{self._nonce}:{_md5(f'{method}:{url}')}")
        return (
            f'Digest username="{self.username}", realm="camera", nonce="{self._nonce}",'
            f' uri="{url}", response="{response}"'
        )

    async def _reply(self) -> Reply:
        while True:
            first = await self.reader.readexactly(1)
            if first != b"$":
                break
            head = await self.reader.readexactly(3)
            body = await self.reader.readexactly(int.from_bytes(head[1:]))
            self.packets.append((head[0], body))
        text = (first + await self.reader.readuntil(b"\r\n\r\n")).decode()
        status_line, *lines = text.strip().split("\r\n")
        headers = [(n.strip().lower(), v.strip()) for n, _, v in (x.partition(":") for x in lines)]
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        body = await self.reader.readexactly(length)
        return Reply(int(status_line.split()[1]), headers, body)


def depacketize(payloads: list[bytes]) -> list[bytes]:
    """RFC 6184 payloads of one access unit back to NAL units."""
    nals: list[bytes] = []
    for payload in payloads:
        kind = payload[0] & 0x1F
        if kind == 24:
            at = 1
            while at < len(payload):
                size = int.from_bytes(payload[at : at + 2])
                nals.append(payload[at + 2 : at + 2 + size])
                at += 2 + size
        elif kind == 28:
            if payload[1] & 0x80:
                nals.append(bytes((payload[0] & 0x60 | payload[1] & 0x1F,)))
            nals[-1] += payload[2:]
        else:
            nals.append(payload)
    return nals


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
SOAP = "http://www.w3.org/2003/05/soap-envelope"
TDS = "http://www.onvif.org/ver10/device/wsdl"
TRT = "http://www.onvif.org/ver10/media/wsdl"
TEV = "http://www.onvif.org/ver10/events/wsdl"
WSNT = "http://docs.oasis-open.org/wsn/b-2"


def token(
    username: str, password: str, *, created: datetime.datetime | None = None, nonce: bytes = b""
) -> str:
    """A WS-Security header with a UsernameToken."""
    nonce = nonce or os.urandom(16)
    moment = (created or datetime.datetime.now(datetime.UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = hashlib.sha1(nonce + moment.encode() + password.encode()).digest()
    return (
        f'<Security xmlns="{WSSE}-wssecurity-secext-1.0.xsd"><UsernameToken>'
        f"<Username>{username}</Username>"
        f'<Password Type="{WSSE}-username-token-profile-1.0#PasswordDigest">'
        f"{base64.b64encode(digest).decode()}</Password>"
        f"<Nonce>{base64.b64encode(nonce).decode()}</Nonce>"
        f'<Created xmlns="{WSSE}-wssecurity-utility-1.0.xsd">{moment}</Created>'
        "</UsernameToken></Security>"
    )


def envelope(body: str, header: str = "") -> bytes:
    return (
        f'<s:Envelope xmlns:s="{SOAP}"><s:Header>{header}</s:Header>'
        f"<s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


@dataclass
class SoapClient:
    """Calls one camera. header: makes the SOAP header of each call."""

    session: aiohttp.ClientSession
    base_url: str
    header: Callable[[], str] = lambda: ""

    async def call(self, path: str, body: str, **http: object) -> tuple[int, etree._Element]:
        """Returns the HTTP status and the answer's root; an empty element without a body."""
        url = path if path.startswith("http") else f"{self.base_url}{path}"
        data = envelope(body, self.header())
        async with self.session.post(url, data=data, **http) as response:  # type: ignore[arg-type]
            text = await response.read()
            return response.status, etree.fromstring(text) if text else etree.Element("none")

    async def device(self, action: str) -> tuple[int, etree._Element]:
        return await self.call("/onvif/device_service", f'<{action} xmlns="{TDS}"/>')


def texts(root: etree._Element, name: str) -> list[str]:
    """The texts of all elements with this local name."""
    return [element.text or "" for element in root.iter(f"{{*}}{name}")]


PROBE = """<?xml version="1.0"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"
 xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"
 xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header>
<w:MessageID>uuid:{id}</w:MessageID><w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>
<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>
<e:Body><d:Probe>{inside}</d:Probe></e:Body></e:Envelope>"""


@dataclass
class Prober:
    """Asks on loopback who is there."""

    port: int
    sock: socket.socket

    async def probe(self, inside: str, to: str = "239.255.255.250") -> None:
        data = PROBE.format(id=os.urandom(8).hex(), inside=inside).encode()
        await asyncio.get_running_loop().sock_sendto(self.sock, data, (to, self.port))

    async def receive(self, timeout_s: float = 5.0) -> etree._Element:
        async with asyncio.timeout(timeout_s):
            loop = asyncio.get_running_loop()
            data, _ = await loop.sock_recvfrom(self.sock, 65_535)
            return etree.fromstring(data)


@contextlib.asynccontextmanager
async def prober(port: int) -> AsyncIterator[Prober]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        loopback = socket.inet_aton("127.0.0.1")
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, loopback)
        yield Prober(port, sock)
