"""The API of a Lantern recorder over HTTP, signed in with a token."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from pydantic import BaseModel

from adapters.errors import (
    AuthenticationFailed,
    Busy,
    NotSupported,
    ProtocolViolation,
    TimedOut,
    Unreachable,
    reason_of,
)
from hutong_lantern import wire
from hutong_lantern.settings import LanternSettings

M = TypeVar("M", bound=BaseModel)
_MAX_BYTES = 8 * 1024 * 1024
_SIGN_OUT_S = 1.0


class LanternClient:
    """`async with LanternClient(settings) as client:` is signed in, and signs out at the end: a
    recorder has few sessions.

    Everything raises AdapterError. Redirects are not followed: the password and the token stay
    with the recorder.
    """

    def __init__(self, settings: LanternSettings) -> None:
        self._settings = settings
        self._device = settings.endpoint
        self._token = ""
        self._signing_in = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), headers={"Accept": "application/json"}
        )
        try:
            await self._sign_in(before="")
        except BaseException:
            await self._http.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with asyncio.timeout(_SIGN_OUT_S):
                    await self._send("DELETE", "session")
        finally:
            await self._http.close()

    async def recorder(self) -> wire.Recorder:
        return await self._document(wire.Recorder, "recorder")

    async def channels(self) -> tuple[wire.Channel, ...]:
        return (await self._document(wire.Channels, "channels")).channels

    async def events(self, after: int | None, wait_s: float) -> wire.Batch:
        """What happened since; waits for something to happen. after: None for from now on."""
        if after is None:
            return await self._document(wire.Batch, "events", wait_s="0")
        return await self._document(
            wire.Batch, "events", patience_s=wait_s, after=str(after), wait_s=f"{wait_s:g}"
        )

    async def picture(self, channel: str) -> bytes:
        """A JPEG."""
        data = await self._get(f"channels/{channel}/picture")
        if not data.startswith(b"\xff\xd8"):
            raise ProtocolViolation("its picture is no JPEG", device=self._device, address=channel)
        return data

    async def _document(self, kind: type[M], path: str, patience_s: float = 0.0, **query: str) -> M:
        data = await self._get(path, patience_s, **query)
        try:
            return wire.read(kind, data)
        except wire.MalformedDocument as error:
            raise ProtocolViolation(f"it answered wrongly: {error}", device=self._device) from None

    async def _get(self, path: str, patience_s: float = 0.0, **query: str) -> bytes:
        used = self._token
        status, data = await self._send("GET", path, patience_s, query)
        if status == 401:  # a token ends, or the recorder forgot it when it started anew
            await self._sign_in(before=used)
            status, data = await self._send("GET", path, patience_s, query)
        match status:
            case 200:
                return data
            case 403:
                reason = "this account may not do that: give it more rights at the recorder"
                raise AuthenticationFailed(reason, device=self._device)
            case 404:
                raise NotSupported("it has nothing of that kind", device=self._device)
            case 503:
                raise Busy("it is too busy to answer", device=self._device)
        raise ProtocolViolation(f"it answered with HTTP status {status}", device=self._device)

    async def _sign_in(self, before: str) -> None:
        """before: the token that failed; somebody else may have a newer one already."""
        async with self._signing_in:
            if self._token != before:
                return
            status, data = await self._send("POST", "session")
            match status:
                case 201:
                    pass
                case 401:
                    reason = "it refused the user name or password"
                    raise AuthenticationFailed(reason, device=self._device)
                case 423:
                    reason = "it has locked this account after wrong passwords: unlock it there"
                    raise AuthenticationFailed(reason, device=self._device)
                case 429:
                    raise Busy("all of its sessions are in use", device=self._device)
                case _:
                    reason = f"it answered a sign-in with HTTP status {status}"
                    raise ProtocolViolation(reason, device=self._device)
            try:
                self._token = wire.read(wire.Session, data).token
            except wire.MalformedDocument as error:
                reason = f"it answered a sign-in wrongly: {error}"
                raise ProtocolViolation(reason, device=self._device) from None

    async def _send(
        self, method: str, path: str, patience_s: float = 0.0, query: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        settings = self._settings
        body, headers = None, {"Authorization": f"Bearer {self._token}"}
        if method == "POST":
            password = settings.password.get_secret_value()
            body, headers = {"user": settings.username, "password": password}, {}
        try:
            async with (
                asyncio.timeout(settings.timeout_s + patience_s),
                self._http.request(
                    method,
                    settings.url / "api" / "v2" / path,
                    params=query,
                    json=body,
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                return response.status, await self._body(response)
        except TimeoutError:
            raise TimedOut("it does not answer in time", device=self._device) from None
        except aiohttp.ClientSSLError as error:
            reason = "its certificate is not trusted here: reach it by http, or trust it"
            raise Unreachable(reason, device=self._device) from error
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            why = reason_of(error) if isinstance(error, OSError) else "it hung up"
            reason = f"the connection to it failed: {why}"
            raise Unreachable(reason, device=self._device) from error
        except aiohttp.ClientError as error:
            reason = "it answered with something that is not HTTP"
            raise ProtocolViolation(reason, device=self._device) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        data = bytearray()
        async for chunk in response.content.iter_chunked(65_536):
            data += chunk
            if len(data) > _MAX_BYTES:
                reason = f"its answer is larger than {_MAX_BYTES} bytes"
                raise ProtocolViolation(reason, device=self._device)
        return bytes(data)
