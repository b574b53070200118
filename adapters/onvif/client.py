"""One device over HTTP: calls in, replies or errors of ours out."""

import contextlib
import dataclasses
import logging
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
from yarl import URL

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    InvalidSettings,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
    reason_of,
)
from adapters.events import Image
from adapters.media.digest import Credentials
from adapters.onvif import snapshot, soap, tls, wire, wsdl
from adapters.onvif.access import Access, Way
from adapters.onvif.link import HttpLink, NoHttp
from adapters.onvif.settings import OnvifSettings

T = TypeVar("T")
_LOG = logging.getLogger(__name__)

_KEEP_OPEN_S = 2.0  # cameras close idle connections after 5 s or so; never meet them at it


@dataclasses.dataclass(frozen=True, slots=True)
class _Answer:
    """challenges: its WWW-Authenticate headers."""

    status: int
    document: bytes
    challenges: tuple[str, ...]


class OnvifClient:
    """Speaks to one device. Make it with `connect`.

    rewritten: what the device announced wrongly, and where it was sought instead.
    """

    def __init__(self, settings: OnvifSettings, access: Access) -> None:
        self.rewritten: tuple[str, ...] = ()
        self._session: aiohttp.ClientSession | None = None
        self._settings = settings
        self._access = access
        self._login = soap.Login(username=settings.username, password=settings.secret)
        self._addresses: dict[str, str] = {"devicemgmt": settings.url}
        self._link = HttpLink(soap.MAX_DOCUMENT_BYTES)
        self._poll = HttpLink(soap.MAX_DOCUMENT_BYTES)

    async def close(self) -> None:
        """End all connections; `connect` does it."""
        self._link.close()
        self._poll.close()
        if self._session is not None:
            await self._session.close()

    @property
    def _http(self) -> aiohttp.ClientSession:
        """For what the links do not speak: TLS, pictures, calls beside each other."""
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=4,
                    keepalive_timeout=_KEEP_OPEN_S,
                    ssl=tls.trust(settings.url, settings.certificate_sha256),
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
            )
        return self._session

    @property
    def services(self) -> Mapping[str, str]:
        """Addresses of the services that are there, as we reach them."""
        return self._addresses

    async def call(self, call: soap.Call[T], *, anonymous: bool = False) -> T:
        """Send a call, signed as the device wants it unless anonymous, and read its reply.

        Raises: AdapterError, naming the device.
        """
        address = call.address or self._addresses.get(call.service)
        if address is None:
            raise NotSupported(f"it has no {call.service} service", device=self._settings.endpoint)
        if not call.body or not call.lean:
            await wsdl.loaded()
        url = URL(address, encoded=True)
        with self._errors(call.operation, call.lasts_s):
            if anonymous:
                answer = await self._post(url, call, None, None)
            elif self._access.settled:
                answer = await self._sign(url, call)
            else:
                async with self._access.lock:
                    answer = await self._sign(url, call)
            return soap.decode(call, answer.status, answer.document)

    async def call_open(self, call: soap.Call[T]) -> T:
        """A call that the standard lets anybody make: signed only where the device wants that.

        What is answered to anybody proves no password. Raises: as `call`.
        """
        try:
            return await self.call(call, anonymous=True)
        except AuthenticationFailed:
            return await self.call(call)

    async def _sign(self, url: URL, call: soap.Call[T]) -> _Answer:
        """Send a call in the way that the device takes; find out which that is."""
        access = self._access
        while True:
            access.check()
            way = access.way
            login = self._login if way is Way.TOKEN else None
            authorization = access.authorization("POST", url.raw_path_qs)
            answer = await self._post(url, call, login, authorization)
            if not soap.refuses_us(answer.status, answer.document):
                access.accepted()
                return answer
            if access.way is not way:
                continue  # another call has found the way meanwhile
            if soap.is_locked(answer.document) or not access.refused(answer.challenges):
                if access.doubtful and call.operation != wire.GET_IDENTITY.operation:
                    await self._confirm()
                return answer

    async def _confirm(self) -> None:
        """Whether the password is right still, by a call that every account may make."""
        url = URL(self._settings.url, encoded=True)
        answer = await self._post(url, wire.GET_IDENTITY, self._login, None)
        if soap.refuses_us(answer.status, answer.document):
            self._access.refused(answer.challenges)
        else:
            self._access.accepted()

    async def _post(
        self, url: URL, call: soap.Call[T], login: soap.Login | None, authorization: str | None
    ) -> _Answer:
        body, content_type = soap.encode(call, login)
        headers = {"Content-Type": content_type}
        if authorization is not None:
            headers["Authorization"] = authorization
        limit_s = self._settings.timeout_s + call.lasts_s
        link = self._poll if call.lasts_s else self._link
        if url.scheme == "http" and not link.busy:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            reply = await link.post(url, lines, body, limit_s)
            return _Answer(reply.status, reply.body, reply.challenges)
        timeout = aiohttp.ClientTimeout(total=limit_s)
        for attempt in (1, 2):
            try:
                async with self._http.post(
                    url, data=body, headers=headers, allow_redirects=False, timeout=timeout
                ) as response:
                    return _Answer(
                        response.status,
                        await _body(response, soap.MAX_DOCUMENT_BYTES),
                        tuple(response.headers.getall("WWW-Authenticate", ())),
                    )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                # It closed a kept connection just as we used it: HTTP asks us to try a fresh one.
                if attempt == 2 or isinstance(error, aiohttp.ClientConnectorError):
                    raise
        raise AssertionError("unreachable")

    async def measure_clock(self) -> float | None:
        """Device clock minus ours, in s (it shows whole seconds, so up to 1 s too low).

        Asked anonymously, for without it no call can be signed. Calls are dated by it from here
        on. None where the device has no clock, or (Axis) tells it to nobody unsigned.
        """
        sent = time.monotonic()
        try:
            clock = await self.call(wire.GET_CLOCK, anonymous=True)
        except (AuthenticationFailed, NotSupported, soap.DeviceFault):
            return None
        if clock is None:
            return None
        travelled_s = (time.monotonic() - sent) / 2
        self._login = dataclasses.replace(
            self._login, offset_s=(clock - datetime.now(UTC)).total_seconds() + travelled_s
        )
        return self._login.offset_s

    def resume(self, services: Mapping[str, str], offset_s: float) -> None:
        """Take over what an earlier client of this device learned."""
        self._addresses |= services
        self._login = dataclasses.replace(self._login, offset_s=offset_s)

    async def find_services(self) -> None:
        """Learn where the services are: GetServices, or GetCapabilities of older devices."""
        try:
            announced = await self.call_open(wire.GET_SERVICES)
        except (NotSupported, ProtocolViolation):
            announced = {}
        if not announced.keys() & {"media", "media2"}:
            announced = await self.call_open(wire.GET_CAPABILITIES) | announced
        for name, address in announced.items():
            # One address that is none must not cost us the other services.
            with contextlib.suppress(ProtocolViolation):
                if name != "devicemgmt":
                    self._addresses[name] = wire.reached_address(address, self._settings.url)
        self.rewritten = wire.rewritten(announced.values(), self._settings.url)

    async def profiles(self) -> tuple[wire.MediaProfile, ...]:
        """From Media2, where H.265 shows; of devices without it, or with nothing in it, from
        Media1."""
        if "media2" in self._addresses:
            with contextlib.suppress(NotSupported, ProtocolViolation):
                if found := await self.call(wire.GET_PROFILES_2):
                    return found
        return await self.call(wire.GET_PROFILES)

    async def stream_address(self, profile_token: str) -> str:
        """Where a profile's stream is, as we reach it. A profile has one token in both services."""
        settings = self._settings
        uri = await self._of_media(
            wire.get_stream_uri_2(profile_token, settings.transport),
            wire.get_stream_uri(profile_token, settings.transport),
        )
        with self._errors("GetStreamUri"):
            reached = wire.reached_address(uri, settings.url, settings.rtsp_port)
        self._note(f"stream {profile_token}", uri, reached)
        return reached

    async def snapshot_address(self, profile_token: str) -> str:
        """Where a profile's picture is, as we reach it."""
        uri = await self._of_media(
            wire.get_snapshot_uri_2(profile_token), wire.get_snapshot_uri(profile_token)
        )
        with self._errors("GetSnapshotUri"):
            reached = wire.reached_address(uri, self._settings.url)
        self._note(f"picture {profile_token}", uri, reached)
        return reached

    async def request_keyframe(self, profile_token: str) -> None:
        """Have a profile's stream go on with a keyframe."""
        await self._of_media(wire.synchronize_2(profile_token), wire.synchronize(profile_token))

    def _note(self, what: str, uri: str, reached: str) -> None:
        """Let an address that was put right be seen: in the log, and in what a probe tells."""
        for sentence in wire.rewritten((uri,), reached):
            note = f"{what}: {sentence}"
            if note not in self.rewritten:
                _LOG.info("%s: %s", self._settings.endpoint, note)
                self.rewritten += (note,)

    async def _of_media(self, second: soap.Call[T], first: soap.Call[T]) -> T:
        """Ask Media2, and Media1 where that is not there or cannot say."""
        if "media2" in self._addresses:
            try:
                return await self.call(second)
            except (NotSupported, ProtocolViolation):
                if "media" not in self._addresses:
                    raise
        return await self.call(first)

    async def picture(self, profile_token: str) -> Image:
        """A JPEG from the device's snapshot address, with HTTP digest where it is asked for."""
        address = URL(await self.snapshot_address(profile_token), encoded=True)
        settings = self._settings
        clear = settings.allow_basic or address.scheme == "https"
        login = Credentials(settings.username, settings.secret.reveal(), basic=clear)
        with self._errors("the snapshot"):
            data = await snapshot.fetch(self._http, address, login)
        return Image(data=data, content_type="image/jpeg", at=datetime.now(UTC))

    @contextlib.contextmanager
    def _errors(self, what: str, lasts_s: float = 0.0) -> Iterator[None]:
        """Turn what goes wrong below into errors that name the device."""
        where, timeout_s = self._settings.endpoint, self._settings.timeout_s + lasts_s
        try:
            yield
        except NoHttp:
            raise ProtocolViolation(f"it answered {what} with no HTTP", device=where) from None
        except AdapterError as error:
            error.device = error.device or where
            raise
        except TimeoutError:
            raise TimedOut(f"no answer to {what} within {timeout_s:g} s", device=where) from None
        except aiohttp.ClientConnectorDNSError:
            raise Unreachable("this name is not known to the name server", device=where) from None
        except aiohttp.ServerFingerprintMismatch as error:
            now = tls.changed(error.expected.hex(), error.got.hex())
            now.device = where
            raise now from None
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError):
            raise InvalidSettings(
                "no authority vouches for its TLS certificate; refresh the device to pin it, or "
                "give its fingerprint as certificate_sha256",
                device=where,
            ) from None
        except (aiohttp.ClientSSLError, ssl.SSLError):
            raise Unreachable("it speaks no TLS that is known here", device=where) from None
        except aiohttp.ClientConnectorError as error:
            reason = reason_of(error.os_error)
            raise Unreachable(f"no connection to it: {reason}", device=where) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
            raise Unreachable(f"it broke the connection at {what}", device=where) from None
        except (aiohttp.ClientError, ValueError):
            raise ProtocolViolation(f"it answered {what} with no HTTP", device=where) from None


async def _body(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    length = response.content_length
    if length is not None and length <= limit_bytes and "Content-Encoding" not in response.headers:
        return await response.read()
    data = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        data += chunk
        if len(data) > limit_bytes:
            raise ProtocolViolation(f"its answer is larger than {limit_bytes} bytes")
    return bytes(data)


@contextlib.asynccontextmanager
async def connect(
    settings: OnvifSettings, access: Access | None = None
) -> AsyncIterator[OnvifClient]:
    """A client of one device, with connections of its own that end with it.

    access: what an earlier client learned of the way in.
    """
    client = OnvifClient(settings, access or access_of(settings))
    try:
        yield client
    finally:
        await client.close()


def access_of(settings: OnvifSettings) -> Access:
    """Over TLS a password in clear is read by nobody else."""
    encrypted = settings.url.startswith("https:")
    return Access(settings.username, settings.secret, allow_basic=settings.allow_basic or encrypted)
