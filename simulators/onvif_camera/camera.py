"""One simulated ONVIF camera at run time: its state, and how it answers a request."""

import asyncio
import dataclasses
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final

from simulators.onvif_camera import soap
from simulators.onvif_camera.authentication import REALM, Guard
from simulators.onvif_camera.certificate import Certificate
from simulators.onvif_camera.events import EventKind, EventSource, Subscription
from simulators.onvif_camera.http import (
    NO_ANSWER,
    HttpConnection,
    HttpRequest,
    HttpResponse,
)
from simulators.onvif_camera.profiles import find_profile
from simulators.onvif_camera.ptz import PtzHead
from simulators.onvif_camera.services import (
    MEDIA2_PATH,
    SERVICES,
    SUBSCRIPTION,
    SUBSCRIPTION_PATH,
)
from simulators.onvif_camera.spec import CameraSpec, Quirks
from simulators.rtsp_camera import Profile, RtspCamera
from simulators.rtsp_camera.listener import Listener

_SNAPSHOT_PATH: Final = "/onvif/snapshot/"
_NOT_AUTHORIZED: Final = soap.Fault("the sender is not authorized", "ter:NotAuthorized")
_LOCKED: Final = soap.Fault("the account is locked", "ter:NotAuthorized")


class OnvifCamera:
    """A camera of a fleet.

    requests: HTTP requests received. actions: ONVIF calls by name, carried out or refused.
    refused: requests whose credentials it did not take. snapshots: JPEGs handed out. ptz_heads:
    by source; empty without PTZ. signed_twice: calls that came with both kinds of credentials.
    """

    def __init__(
        self,
        spec: CameraSpec,
        rtsp: RtspCamera,
        reader: soap.Reader,
        announce: Callable[["OnvifCamera"], None],
    ) -> None:
        clock = asyncio.get_running_loop().time
        self.spec = spec
        self.name = spec.name
        self.host = spec.host
        self.rtsp = rtsp
        self.powered = False
        self.requests = 0
        self.refused = 0
        self.signed_twice = 0
        self.snapshots = 0
        self.actions: Counter[str] = Counter()
        self.events = EventSource(spec.sources, clock)
        self.ptz_heads = (
            {source: PtzHead(clock) for source in range(1, spec.sources + 1)} if spec.ptz else {}
        )
        self._certificate = Certificate(spec.host) if spec.tls else None
        self.listener = Listener(
            spec.host,
            spec.onvif_port,
            self._connection,
            self._certificate.context if self._certificate else None,
        )
        self._quirks = spec.quirks
        self._rebooting: asyncio.Task[None] | None = None
        self._since_power = 0
        self._reader = reader
        self._announce = announce
        self._guard = Guard(spec.username, spec.password)
        self._clock = clock

    @property
    def quirks(self) -> Quirks:
        """May be replaced at any time."""
        return self._quirks

    @quirks.setter
    def quirks(self, quirks: Quirks) -> None:
        self._quirks = quirks
        self.rtsp.quirks = quirks.of_rtsp()

    @property
    def onvif_port(self) -> int:
        return self.listener.port

    @property
    def rtsp_port(self) -> int:
        return self.rtsp.port

    @property
    def base_url(self) -> str:
        """What it announces as its own address, which may be wrong."""
        scheme = "https" if self.spec.tls else "http"
        return f"{scheme}://{self._quirks.announced_host or f'{self.host}:{self.onvif_port}'}"

    @property
    def device_url(self) -> str:
        """Where its device service is in truth."""
        scheme = "https" if self.spec.tls else "http"
        return f"{scheme}://{self.host}:{self.onvif_port}/onvif/device_service"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its certificate in hex; empty without TLS."""
        return self._certificate.fingerprint if self._certificate else ""

    def renew_certificate(self) -> None:
        """Another self-signed certificate, for connections from now on."""
        if self._certificate is not None:
            self._certificate.renew()

    @property
    def now_s(self) -> float:
        """The device's own clock, seconds since 1970."""
        return time.time() + self._quirks.clock_offset_s

    def set_clock(self, time_s: float) -> None:
        """Set the device's clock. time_s: since 1970."""
        self.quirks = dataclasses.replace(self._quirks, clock_offset_s=time_s - time.time())

    @property
    def rtsp_clients(self) -> int:
        """RTSP sessions that play now."""
        return self.rtsp.clients

    @property
    def subscriptions(self) -> int:
        """PullPoints that live now."""
        return len(self.events.alive)

    @property
    def ptz(self) -> PtzHead | None:
        """The head of the first source."""
        return self.ptz_heads.get(1)

    def rtsp_url(self, profile: Profile = "main", source: int = 1) -> str:
        """Where a stream is in truth, without user and password."""
        return self.rtsp.url(profile, source)

    def announced_rtsp_url(self, profile: Profile, source: int) -> str:
        """What GetStreamUri answers."""
        url = self.rtsp.url(profile, source)
        host = self._quirks.announced_host.partition(":")[0]
        return url.replace(f"//{self.rtsp.host}:", f"//{host}:", 1) if host else url

    def left_s(self, subscription: Subscription) -> float:
        """How long a subscription lives without a further sign of life."""
        return subscription.ends_s - self._clock()

    def notify(self, kind: EventKind | str, active: bool, source: int = 1) -> None:
        """Let something happen: motion, tamper, signal_lost, digital_input or storage begins or
        ends; source is then the number of the input or disk. Any topic with a slash in it is told
        of as it is.

        Raises: KeyError for a source it does not have; ValueError for an unknown kind.
        """
        if "/" in kind:
            self.events.say(kind, source, active, self.now_s)
            return
        self.events.change(EventKind(kind), source, active, self.now_s)

    @property
    def wrong_passwords(self) -> int:
        """How many it was given."""
        return self._guard.wrong

    def _connection(self) -> HttpConnection:
        return HttpConnection(self.listener, self.handle, self._quirks.dead_after)

    def close(self) -> None:
        """Give everything back."""
        self.powered = False
        if self._rebooting is not None:
            self._rebooting.cancel()
        self.listener.close()

    async def _reboot(self) -> None:
        """Gone without a word, and back: no Bye, but a Hello."""
        self.powered = False
        self.listener.off()
        self.events.clear()
        await self.rtsp.power(False)
        await asyncio.sleep(self._quirks.reboot_s)
        await self.power(True)

    async def power(self, on: bool) -> None:
        """Switch on (Hello) or off (Bye; every connection drops and new ones are refused)."""
        if on == self.powered:
            return
        self.powered = on
        self._guard.unlock()
        if on:
            await self.listener.on()
            await self.rtsp.power(True)
        else:
            self.listener.off()
            self.events.clear()
            await self.rtsp.power(False)
        self._announce(self)

    def handle(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        """Answer an HTTP request."""
        self.requests += 1
        self._since_power += 1
        quirks = self._quirks
        if quirks.silent:
            return NO_ANSWER
        if quirks.garbage:
            return HttpResponse(raw=os.urandom(128))
        if self._since_power == quirks.reboots_after and self._rebooting is None:
            self._rebooting = asyncio.create_task(self._reboot())
            return NO_ANSWER
        if self.spec.delay_ms or quirks.delay_ms:
            return self._after_delay(request)
        return self._handle(request)

    async def _after_delay(self, request: HttpRequest) -> HttpResponse:
        await asyncio.sleep((self.spec.delay_ms + self._quirks.delay_ms) / 1000)
        answer = self._handle(request)
        return answer if isinstance(answer, HttpResponse) else await answer

    def _handle(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        path = request.path
        if path.startswith(_SNAPSHOT_PATH):
            return self._snapshot(request, path.removeprefix(_SNAPSHOT_PATH))
        absent = path == MEDIA2_PATH and not self._quirks.media2
        if absent or (path not in SERVICES and not path.startswith(SUBSCRIPTION_PATH)):
            return HttpResponse(status=404)
        if request.method != "POST":
            return HttpResponse(status=405, headers=(("Allow", "POST"),))
        try:
            return self._call(request, self._reader.request(request.body))
        except soap.Fault as error:
            return _fault(error)

    def _call(
        self, http: HttpRequest, request: soap.Request
    ) -> HttpResponse | Awaitable[HttpResponse]:
        action = request.action
        header = ""
        if http.path.startswith(SUBSCRIPTION_PATH):
            call = SUBSCRIPTION.get((action.namespace, action.name))
            if call is None:
                raise _unsupported(action)
            if refusal := self._refusal(http, request):
                return refusal
            self.actions[action.name] += 1
            subscription = self.events.find(http.path.removeprefix(SUBSCRIPTION_PATH))
            if subscription is None:
                raise soap.Fault("no such subscription", "wsrf-rw:ResourceUnknownFault")
            header = _reply_header(request)
            body = call(self, action, subscription)
            return (
                self._answer(body, header) if isinstance(body, str) else self._later(body, header)
            )
        namespace, actions = SERVICES[http.path]
        known = actions.get(action.name) if action.namespace == namespace else None
        no_events = namespace == soap.EVENTS and not self._quirks.events
        if known is None or no_events or (namespace == soap.PTZ and not self.ptz_heads):
            raise _unsupported(action)
        if action.name == "GetServices" and not self._quirks.get_services:
            raise _unsupported(action)
        if not known.anonymous and (refusal := self._refusal(http, request)):
            return refusal
        if action.name in self._quirks.forbidden:
            raise _NOT_AUTHORIZED
        self.actions[action.name] += 1
        return self._answer(known.call(self, action), _reply_header(request))

    def _answer(self, body: str, header: str) -> HttpResponse:
        document = soap.envelope(body, header)
        return HttpResponse(
            body=soap.foreign(document) if self.quirks.foreign_namespaces else document
        )

    async def _later(self, body: Awaitable[str], header: str) -> HttpResponse:
        try:
            return self._answer(await body, header)
        except soap.Fault as error:
            return _fault(error)
        except soap.BreaksOff:
            return HttpResponse(raw=b"", closes=True)

    def _refusal(self, http: HttpRequest, request: soap.Request) -> HttpResponse | None:
        """What it answers to credentials that it does not take; None to those that it does."""
        quirks, header = self._quirks, http.headers.get("authorization", "")
        self.signed_twice += bool(header and request.token)
        if self._guard.locked(quirks.locks_after):
            self.refused += 1
            return _fault(_LOCKED)
        judges_token = quirks.authentication in ("both", "token")
        if quirks.authentication == "token" and request.token is None:
            return _fault(_NOT_AUTHORIZED)
        if not judges_token or (quirks.authentication == "both" and header) or not request.token:
            return self._http_refusal(http, header)
        accepted = self._guard.accepts_token(
            request.token, now_s=self.now_s, window_s=quirks.created_window_s
        )
        if accepted:
            return None
        self.refused += 1
        self.actions[request.action.name] += 1
        return _fault(_NOT_AUTHORIZED)

    def _http_refusal(self, http: HttpRequest, header: str) -> HttpResponse | None:
        quirks, now_s = self._quirks, time.monotonic()
        algorithm = quirks.digest_algorithm
        if quirks.authentication == "basic":
            challenge = f'Basic realm="{REALM}"'
            accepted = self._guard.accepts_basic(header)
        else:
            challenge = self._guard.challenge(
                header, now_s=now_s, algorithm=algorithm, qop=quirks.digest_qop
            )
            accepted = self._guard.accepts_digest(
                header, method=http.method, target=http.target, now_s=now_s, algorithm=algorithm
            )
        if accepted:
            return None
        self.refused += bool(header)
        return HttpResponse(status=401, headers=(("WWW-Authenticate", challenge),))

    def _snapshot(self, request: HttpRequest, token: str) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponse(status=405, headers=(("Allow", "GET"),))
        if self._quirks.snapshot_refused:
            return HttpResponse(
                status=401, headers=(("WWW-Authenticate", 'Digest realm="picture"'),)
            )
        refusal = self._http_refusal(request, request.headers.get("authorization", ""))
        if refusal is not None:
            return refusal
        try:
            profile = find_profile(self, token)
        except soap.Fault:
            return HttpResponse(status=404)
        self.snapshots += 1
        picture = self.rtsp.snapshot(profile.kind, profile.source)
        return HttpResponse(body=picture, media_type="image/jpeg")


def _unsupported(action: soap.Element) -> soap.Fault:
    return soap.Fault(f"{action.name} is not supported", "ter:ActionNotSupported", sender=False)


def _reply_header(request: soap.Request) -> str:
    if not request.message_id:
        return ""
    action = request.action
    port_type = "PullPointSubscription" if action.name == "PullMessages" else "EventPortType"
    return soap.addressing_header(
        f"{action.namespace}/{port_type}/{action.name}Response", request.message_id
    )


def _fault(error: soap.Fault) -> HttpResponse:
    return HttpResponse(status=400 if error.sender else 500, body=soap.fault(error))
