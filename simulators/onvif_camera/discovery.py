"""WS-Discovery of many simulated devices: answers to Probe, Hello and Bye.

Sources: WS-Discovery 2005/04, ONVIF Core specification (discovery).
"""

import asyncio
import contextlib
import dataclasses
import socket
import struct
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from lxml import etree

from simulators.onvif_camera import device_service, soap
from simulators.onvif_camera.soap import text

if TYPE_CHECKING:
    from simulators.onvif_camera.camera import OnvifCamera

GROUP: Final = "239.255.255.250"
PORT: Final = 3702
MAX_DATAGRAM: Final = 65_535

_ENVELOPE: Final = soap.ENVELOPE
_ADDRESSING: Final = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_DISCOVERY: Final = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_NETWORK: Final = "http://www.onvif.org/ver10/network/wsdl"
_ANONYMOUS: Final = f"{_ADDRESSING}/role/anonymous"
_EVERYBODY: Final = "urn:schemas-xmlsoap-org:ws:2005:04:discovery"
_TYPES: Final = frozenset({f"{{{_NETWORK}}}NetworkVideoTransmitter", f"{{{soap.DEVICE}}}Device"})
_EXACT: Final = f"{_DISCOVERY}/strcmp0"

_IP_MULTICAST_ALL: Final = 49  # Linux; the socket module has no name for it
_ANSWERS_AT_ONCE: Final = 16
_PAUSE_S: Final = 0.005
_REMEMBERED_PROBES: Final = 256


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """types: as {namespace}name. scopes: every one must match. exact: not by prefix."""

    message_id: str
    types: frozenset[str]
    scopes: tuple[str, ...]
    exact: bool

    def matches(self, scopes: Sequence[str]) -> bool:
        """Whether a device with these scopes answers."""
        return self.types <= _TYPES and all(
            any(_scope_matches(wanted, scope, exact=self.exact) for scope in scopes)
            for wanted in self.scopes
        )


def _scope_matches(wanted: str, scope: str, *, exact: bool) -> bool:
    if exact:
        return wanted == scope
    wanted, scope = wanted.rstrip("/"), scope.rstrip("/")
    return scope == wanted or scope.startswith(f"{wanted}/")


def read_probe(reader: soap.Reader, data: bytes) -> Probe | None:
    """The probe in a datagram; None for anything else."""
    try:
        root = reader.parse(data)
    except soap.Fault:
        return None
    action = root.findtext(f"{{{_ENVELOPE}}}Header/{{{_ADDRESSING}}}Action") or ""
    message_id = root.findtext(f"{{{_ENVELOPE}}}Header/{{{_ADDRESSING}}}MessageID") or ""
    probe = root.find(f"{{{_ENVELOPE}}}Body/{{{_DISCOVERY}}}Probe")
    if probe is None or action.strip() != f"{_DISCOVERY}/Probe" or not message_id.strip():
        return None
    scopes = probe.find(f"{{{_DISCOVERY}}}Scopes")
    return Probe(
        message_id=message_id.strip(),
        types=frozenset(_qualified(probe.find(f"{{{_DISCOVERY}}}Types"))),
        scopes=tuple((scopes.text or "").split()) if scopes is not None else (),
        exact=scopes is not None and scopes.get("MatchBy") == _EXACT,
    )


def _qualified(types: etree._Element | None) -> Iterable[str]:
    if types is None:
        return
    for name in (types.text or "").split():
        prefix, colon, local = name.rpartition(":")
        yield f"{{{types.nsmap.get(prefix if colon else None) or ''}}}{local}"


class Announcer:
    """Writes the messages of one run: they are numbered, so that order can be told."""

    def __init__(self) -> None:
        self._instance = int(time.time())
        self._number = 0

    def probe_match(self, camera: "OnvifCamera", relates_to: str) -> bytes:
        body = f"<d:ProbeMatches><d:ProbeMatch>{_about(camera)}</d:ProbeMatch></d:ProbeMatches>"
        return self._message("ProbeMatches", _ANONYMOUS, body, relates_to)

    def hello(self, camera: "OnvifCamera") -> bytes:
        return self._message("Hello", _EVERYBODY, f"<d:Hello>{_about(camera)}</d:Hello>")

    def bye(self, camera: "OnvifCamera") -> bytes:
        return self._message("Bye", _EVERYBODY, f"<d:Bye>{_endpoint(camera)}</d:Bye>")

    def _message(self, action: str, to: str, body: str, relates_to: str = "") -> bytes:
        self._number += 1
        relates = f"<a:RelatesTo>{text(relates_to)}</a:RelatesTo>" if relates_to else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f'<s:Envelope xmlns:s="{_ENVELOPE}" xmlns:a="{_ADDRESSING}" xmlns:d="{_DISCOVERY}"'
            f' xmlns:dn="{_NETWORK}" xmlns:tds="{soap.DEVICE}"><s:Header>'
            f"<a:MessageID>urn:uuid:{uuid.uuid4()}</a:MessageID>{relates}<a:To>{to}</a:To>"
            f"<a:Action>{_DISCOVERY}/{action}</a:Action>"
            f'<d:AppSequence InstanceId="{self._instance}" MessageNumber="{self._number}"/>'
            f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
        ).encode()


def _endpoint(camera: "OnvifCamera") -> str:
    address = camera.spec.endpoint_reference
    return f"<a:EndpointReference><a:Address>{address}</a:Address></a:EndpointReference>"


def _about(camera: "OnvifCamera") -> str:
    return (
        f"{_endpoint(camera)}<d:Types>dn:NetworkVideoTransmitter tds:Device</d:Types>"
        f"<d:Scopes>{text(' '.join(device_service.scopes(camera)))}</d:Scopes>"
        f"<d:XAddrs>{camera.base_url}/onvif/device_service</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
    )


class Responder:
    """Answers for all cameras of a fleet on the chosen interfaces.

    A probe to the group is answered by every camera with power, one sent to a camera's own host
    by the cameras of that host. Answers leave in small bursts, as a street of cameras with
    random delays would send them, so that the prober's socket buffer holds them.
    port: 0 takes a free one, known after `open`.
    """

    def __init__(
        self,
        cameras: Callable[[], Iterable["OnvifCamera"]],
        reader: soap.Reader,
        port: int,
        interfaces: Sequence[str],
    ) -> None:
        self.port = port
        self.probes = 0
        self._cameras = cameras
        self._reader = reader
        self._interfaces = tuple(interfaces)
        self._announcer = Announcer()
        self._senders: dict[str, socket.socket] = {}
        self._sockets: list[socket.socket] = []
        self._seen: deque[str] = deque(maxlen=_REMEMBERED_PROBES)
        self._answering: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Join the group on each interface. Raises: OSError that names the address."""
        for interface in self._interfaces:
            sender = self._listen(interface, self.port, None)
            self.port = sender.getsockname()[1]
            sender.setsockopt(
                socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(interface)
            )
            self._senders[interface] = sender
            group = self._listen(GROUP, self.port, None, sender)
            member = socket.inet_aton(GROUP) + socket.inet_aton(interface)
            group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            # else the socket would also get what other programs joined on other interfaces
            group.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, struct.pack("i", 0))
        for host in sorted({camera.host for camera in self._cameras()} - set(self._senders)):
            self._listen(host, self.port, host)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for task in tuple(self._answering):
            task.cancel()
        for sock in self._sockets:
            loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()
        self._senders.clear()

    def announce(self, camera: "OnvifCamera") -> None:
        """Send Hello or Bye, by whether the camera has power."""
        message = self._announcer.hello(camera) if camera.powered else self._announcer.bye(camera)
        for sender in self._senders.values():
            with contextlib.suppress(OSError):
                sender.sendto(message, (GROUP, self.port))

    def _listen(
        self, address: str, port: int, host: str | None, sender: socket.socket | None = None
    ) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((address, port))
        except OSError as error:
            sock.close()
            what = f"WS-Discovery cannot use UDP {address}:{port}: {error.strerror}"
            raise OSError(error.errno, what) from None
        self._sockets.append(sock)
        loop = asyncio.get_running_loop()
        loop.add_reader(sock, self._readable, sock, sender or sock, host)
        return sock

    def _readable(self, sock: socket.socket, sender: socket.socket, host: str | None) -> None:
        try:
            data, address = sock.recvfrom(MAX_DATAGRAM)
        except OSError:
            return
        probe = read_probe(self._reader, data)
        if probe is None or probe.message_id in self._seen:
            return
        self._seen.append(probe.message_id)
        self.probes += 1
        chosen = [
            camera
            for camera in self._cameras()
            if camera.powered
            and host in (None, camera.host)
            and probe.matches(device_service.scopes(camera))
        ]
        task = asyncio.get_running_loop().create_task(self._answer(probe, chosen, sender, address))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(
        self,
        probe: Probe,
        cameras: Sequence["OnvifCamera"],
        sender: socket.socket,
        address: tuple[str, int],
    ) -> None:
        for index, camera in enumerate(cameras):
            if index % _ANSWERS_AT_ONCE == 0 and index:
                await asyncio.sleep(_PAUSE_S)
            with contextlib.suppress(OSError):
                sender.sendto(self._announcer.probe_match(camera, probe.message_id), address)
