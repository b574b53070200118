"""RTSP requests and their answers over one connection, signed in where asked."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from adapters.errors import (
    AdapterError,
    AuthenticationFailed,
    ProtocolViolation,
    TimedOut,
    Unreachable,
)
from adapters.media import wire
from adapters.media.address import RtspAddress
from adapters.media.dial import dial
from adapters.media.digest import Credentials
from adapters.media.limits import RtspLimits
from adapters.media.link import RtspLink


class RtspClient:
    """credentials: None where our name and password are not to be used.

    session: the id to send along. on_lost(error) is called once, when the connection breaks.
    """

    def __init__(
        self,
        address: RtspAddress,
        credentials: Credentials | None,
        limits: RtspLimits,
        certificate_sha256: str = "",
    ) -> None:
        self.address = address
        self.session = ""
        self._handlers: wire.Handlers = {}
        self.on_lost: Callable[[AdapterError], None] = lambda error: None
        self._credentials = credentials
        self._limits = limits
        self._certificate_sha256 = certificate_sha256
        self._link: RtspLink | None = None
        self._cseq = 0
        self._lost = False

    @property
    def location(self) -> str:
        return self.address.location

    @property
    def packets(self) -> int:
        """Packets that came on this connection."""
        return self._link.packets if self._link is not None else 0

    def endpoints(self) -> tuple[str, str]:
        """Our own address and the camera's, as the connection has them."""
        transport = self._link.transport if self._link is not None else None
        if transport is None:
            raise Unreachable("the connection is closed", device=self.location)
        ours, theirs = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        if not ours or not theirs:
            raise Unreachable("the connection broke", device=self.location)
        return ours[0], theirs[0]

    def deliver(self, handlers: wire.Handlers) -> None:
        """Give interleaved packets to the handlers of their channels from now on."""
        self._handlers = handlers
        if self._link is not None:
            self._link.handlers = handlers

    async def connect(self) -> None:
        """Raises: Unreachable, TimedOut, InvalidSettings (certificate)."""
        link = await dial(self.address, self._limits.connect_s, self._certificate_sha256)
        link.handlers = self._handlers
        link.on_lost = self._fail
        self._link = link

    async def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None
    ) -> wire.Response:
        """The answer, once signed in. Raises: AuthenticationFailed, TimedOut, Unreachable,
        ProtocolViolation."""
        while True:
            signed = self._signed
            response = await self._exchange(method, url, headers or {})
            if response.status != 401:
                self._accept(signed)
                return response
            self._take_challenge(response, signed)
            if "close" in response.header("connection").lower():
                await self._reconnect()

    def post(self, method: str, url: str, answered: Callable[[wire.Response], None]) -> None:
        """Ask without waiting; answered(response) is called where one comes. A nonce that went
        stale is renewed by it. Raises nothing: a broken connection tells by itself."""
        if self._link is None:
            return
        signed = self._signed
        waiter = self._link.ask(self._next(), self._encode(method, url, {}))

        def arrived(future: "asyncio.Future[wire.Response]") -> None:
            if future.cancelled() or future.exception() is not None:
                return
            response = future.result()
            if response.status != 401:
                self._accept(signed)
                answered(response)
                return
            try:
                self._take_challenge(response, signed)
            except AdapterError as error:
                self._fail(error)
            else:
                self.post(method, url, answered)

        waiter.add_done_callback(arrived)

    async def aclose(self, farewell: str = "") -> None:
        """Close. farewell: the address to TEARDOWN first; its answer is awaited for a moment."""
        self._lost = True
        link, self._link = self._link, None
        if link is None or link.transport is None:
            return
        try:
            if farewell:
                number = self._next()
                ended = link.ask(number, self._encode("TEARDOWN", farewell, {}))
                with contextlib.suppress(TimeoutError, AdapterError):
                    async with asyncio.timeout(self._limits.farewell_s):
                        await ended
            link.transport.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.farewell_s):
                    await asyncio.shield(link.closed)
        finally:
            link.abort()

    # --- one exchange -------------------------------------------------------------------------

    @property
    def _signed(self) -> bool:
        return self._credentials is not None and self._credentials.answered

    def _next(self) -> int:
        self._cseq += 1
        return self._cseq

    def _encode(self, method: str, url: str, headers: Mapping[str, str]) -> bytes:
        lines = dict(headers)
        answer = self._credentials.authorization(method, url) if self._credentials else None
        if answer is not None:
            lines["Authorization"] = answer
        if self.session:
            lines["Session"] = self.session
        return wire.request(method, url, self._cseq, lines)

    async def _exchange(self, method: str, url: str, headers: Mapping[str, str]) -> wire.Response:
        link = self._link
        if link is None:
            raise Unreachable("the connection is closed", device=self.location)
        number = self._next()
        data = self._encode(method, url, headers)
        try:
            async with asyncio.timeout(self._limits.request_s):
                return await link.ask(number, data)
        except TimeoutError:
            if link.babbled:
                text = "it does not answer in RTSP"
                raise ProtocolViolation(text, device=self.location) from None
            text = f"no answer to {method} within {self._limits.request_s:g} s"
            raise TimedOut(text, device=self.location) from None
        finally:
            link.forget(number)

    def _accept(self, signed: bool) -> None:
        if signed and self._credentials is not None:
            self._credentials.accept()

    def _take_challenge(self, response: wire.Response, signed: bool) -> None:
        if self._credentials is None:
            text = "it asks for a sign-in, and our password is not for it"
            raise AuthenticationFailed(text, device=self.location)
        if not self._credentials.known:
            raise AuthenticationFailed("it asks for a name and password", device=self.location)
        try:
            self._credentials.take(response.headers.get("www-authenticate", ()), refused=signed)
        except AdapterError as error:
            raise type(error)(error.message, device=self.location) from None

    async def _reconnect(self) -> None:
        if self._link is not None:
            self._link.on_lost = lambda error: None
            self._link.abort()
        await self.connect()

    def _fail(self, error: AdapterError) -> None:
        if not self._lost:
            self._lost = True
            self.on_lost(error)
