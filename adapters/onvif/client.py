"""One device over HTTP: calls in, replies or errors of ours out."""

import contextlib
import dataclasses
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
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
    reason_of,
)
from adapters.events import Image
from adapters.onvif import soap, wire, wsdl
from adapters.onvif.settings import OnvifSettings

T = TypeVar("T")

MAX_PICTURE_BYTES = 16 * 1024 * 1024
_KEEP_OPEN_S = 2.0  # cameras close idle connections after 5 s or so; never meet them at it


class OnvifClient:
    """Speaks to one device. Make it with `connect`."""

    def __init__(self, session: aiohttp.ClientSession, settings: OnvifSettings) -> None:
        self._session = session
        self._settings = settings
        self._login = soap.Login(username=settings.username, password=settings.secret)
        self._addresses: dict[str, str] = {"devicemgmt": settings.url}

    @property
    def services(self) -> Mapping[str, str]:
        """Addresses of the services that are there, as we reach them."""
        return self._addresses

    async def call(self, call: soap.Call[T], *, anonymous: bool = False) -> T:
        """Send a call, signed unless anonymous, and read its reply.

        Raises: AdapterError, naming the device.
        """
        address = call.address or self._addresses.get(call.service)
        if address is None:
            raise NotSupported(f"it has no {call.service} service", device=self._settings.endpoint)
        body, content_type = soap.encode(call, None if anonymous else self._login)
        with self._errors(call.operation):
            status, document = await self._post(address, body, content_type, call.lasts_s)
            return soap.decode(call, status, document)

    async def _post(
        self, address: str, body: bytes, content_type: str, lasts_s: float
    ) -> tuple[int, bytes]:
        headers = {"Content-Type": content_type}
        limit = aiohttp.ClientTimeout(total=self._settings.timeout_s + lasts_s)
        for attempt in (1, 2):
            try:
                async with self._session.post(
                    URL(address, encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    timeout=limit,
                ) as response:
                    return response.status, await _body(response, soap.MAX_DOCUMENT_BYTES)
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
            announced = await self.call(wire.GET_SERVICES)
        except (NotSupported, ProtocolViolation):
            announced = {}
        if "media" not in announced:
            announced = await self.call(wire.GET_CAPABILITIES) | announced
        for name, address in announced.items():
            # One address that is none must not cost us the other services.
            with contextlib.suppress(ProtocolViolation):
                if name != "devicemgmt":
                    self._addresses[name] = wire.reached_address(address, self._settings.url)

    async def stream_address(self, profile_token: str) -> str:
        uri = await self.call(wire.get_stream_uri(profile_token, self._settings.transport))
        with self._errors("GetStreamUri"):
            return wire.reached_address(uri, self._settings.url)

    async def picture(self, profile_token: str) -> Image:
        """A JPEG from the device's snapshot address, with HTTP digest where it is asked for."""
        uri = await self.call(wire.get_snapshot_uri(profile_token))
        with self._errors("the snapshot"):
            address = URL(wire.reached_address(uri, self._settings.url), encoded=True)
            async with self._session.get(
                address, allow_redirects=False, middlewares=self._digest()
            ) as response:
                data = await _body(response, MAX_PICTURE_BYTES)
                if response.status in (401, 403):
                    raise AuthenticationFailed("it refused the user name or password at snapshot")
                if response.status != 200:
                    raise ProtocolViolation(f"its snapshot has HTTP status {response.status}")
        if not data.startswith(b"\xff\xd8"):
            raise ProtocolViolation(
                "its snapshot is no JPEG picture", device=self._settings.endpoint
            )
        return Image(data=data, content_type="image/jpeg", at=datetime.now(UTC))

    def _digest(self) -> tuple[aiohttp.DigestAuthMiddleware, ...]:
        if not self._settings.username:
            return ()
        login = self._login
        return (aiohttp.DigestAuthMiddleware(login.username, login.password.reveal()),)

    @contextlib.contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Turn what goes wrong below into errors that name the device."""
        where, timeout_s = self._settings.endpoint, self._settings.timeout_s
        try:
            yield
        except AdapterError as error:
            error.device = error.device or where
            raise
        except TimeoutError:
            raise TimedOut(f"no answer to {what} within {timeout_s:g} s", device=where) from None
        except aiohttp.ClientConnectorDNSError:
            raise Unreachable("this name is not known to the name server", device=where) from None
        except (aiohttp.ClientConnectorCertificateError, ssl.SSLError):
            raise Unreachable("its TLS certificate is not trusted here", device=where) from None
        except aiohttp.ClientConnectorError as error:
            reason = reason_of(error.os_error)
            raise Unreachable(f"no connection to it: {reason}", device=where) from None
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError):
            raise Unreachable(f"it broke the connection at {what}", device=where) from None
        except (aiohttp.ClientError, ValueError):
            raise ProtocolViolation(f"it answered {what} with no HTTP", device=where) from None


async def _body(response: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    data = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        data += chunk
        if len(data) > limit_bytes:
            raise ProtocolViolation(f"its answer is larger than {limit_bytes} bytes")
    return bytes(data)


@contextlib.asynccontextmanager
async def connect(settings: OnvifSettings) -> AsyncIterator[OnvifClient]:
    """A client of one device, with connections of its own that end with it."""
    await wsdl.loaded()
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=4, keepalive_timeout=_KEEP_OPEN_S),
        timeout=aiohttp.ClientTimeout(total=settings.timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
    )
    try:
        yield OnvifClient(session, settings)
    finally:
        await session.close()
