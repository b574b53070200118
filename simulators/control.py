"""A loopback HTTP API to press, release, unplug and look, from outside the simulators' process.

Routes are listed in simulators/README.md.
"""

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from simulators.district import District
from simulators.homebrew_repeater import Heard, Radio, Repeater
from simulators.mmdvm_host import MmdvmHost
from simulators.mmdvm_host import Radio as HotspotRadio
from simulators.onvif_camera import OnvifCamera
from simulators.rtsp_camera import RtspCamera
from simulators.trunk_recorder import TrunkRecorder
from simulators.zello_server import Phone, ZelloServer

TAIL = 50
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PressRadio(_Body):
    talkgroup: int = Field(ge=1, le=0xFFFFFF)
    slot: int = Field(default=1, ge=1, le=2)
    seconds: float | None = Field(default=None, ge=0)
    polite: bool = True
    emergency: bool = False


class PressPhone(_Body):
    channel: str
    seconds: float | None = Field(default=None, ge=0)


class PressUnit(_Body):
    talkgroup: int = Field(ge=1, le=0xFFFFFF)
    slot: int = Field(default=1, ge=1, le=2)
    seconds: float | None = Field(default=None, ge=0)
    emergency: bool = False
    encrypted: bool = False


class Fault(_Body):
    active: bool


class SendText(_Body):
    channel: str
    text: str = Field(min_length=1)


class Power(_Body):
    on: bool


class Loss(_Body):
    ratio: float = Field(ge=0, le=1)


class Control:
    """The API of one district; use as an async context manager. port: 0 for a free one.

    Raises on entering: OSError if the port is taken.
    """

    def __init__(self, district: District, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host, self.port = host, port
        self._district = district
        application = web.Application(middlewares=[_guard, _errors])
        application.add_routes(
            [
                web.get("/state", self._state),
                web.post("/radios/{id:[0-9]+}/{action:press|release|vanish}", self._radio),
                web.post("/phones/{name}/{action:press|release|text}", self._phone),
                web.post("/cameras/{name}/power", self._power),
                web.post("/repeaters/{id:[0-9]+}/{action:unplug|plug|loss}", self._repeater),
                web.post("/channels/{name}/end_stream", self._end_stream),
                web.post("/zello/drop_connections", self._drop),
                web.post("/feeds/{name}/units/{id:[0-9]+}/{action:press|release}", self._unit),
                web.post("/feeds/{name}/{action:silence|lose_ends|drop}", self._feed),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    # --- routes ---------------------------------------------------------------------------------

    async def _state(self, request: web.Request) -> web.Response:
        district = self._district
        return _json(
            {
                "cameras": [_camera_state(*one) for one in district.cameras().items()],
                "repeaters": [_repeater_state(one) for one in district.repeaters.values()],
                "radios": [
                    _radio_state(radio, repeater)
                    for repeater in district.repeaters.values()
                    for radio in repeater.radios.values()
                ],
                "zello": [_zello_state(server) for server in district.zello],
                "phones": [_phone_state(phone) for phone in district.phones.values()],
                "feeds": [_feed_state(*one) for one in district.feeds.items()],
            }
        )

    async def _radio(self, request: web.Request) -> web.Response:
        radio = _find(self._district.radios, int(request.match_info["id"]), "radio")
        match request.match_info["action"]:
            case "press":
                body = await _body(request, PressRadio)
                pressed = radio.press(
                    body.talkgroup,
                    body.slot,
                    polite=body.polite,
                    emergency=body.emergency,
                    limit_s=body.seconds,
                )
                return _pressed(pressed)
            case "release":
                await radio.release()
            case "vanish":
                radio.vanish()
        return _json({"pressing": radio.pressing})

    async def _phone(self, request: web.Request) -> web.Response:
        phone = _find(self._district.phones, request.match_info["name"], "phone")
        match request.match_info["action"]:
            case "press":
                press = await _body(request, PressPhone)
                _find(phone.channels, press.channel, "channel")
                return _pressed(phone.press(press.channel, limit_s=press.seconds))
            case "release":
                phone.release()
            case "text":
                text = await _body(request, SendText)
                _find(phone.channels, text.channel, "channel")
                phone.text(text.channel, text.text)
        return _json({"pressing": phone.pressing})

    async def _unit(self, request: web.Request) -> web.Response:
        feed = _find(self._district.feeds, request.match_info["name"], "feed")
        number = int(request.match_info["id"])
        units = {int(unit): radio for unit, radio in feed.radios.items()}
        radio = _find(units, number, "unit")
        if request.match_info["action"] == "release":
            radio.release()
            return _json({"pressing": radio.pressing})
        body = await _body(request, PressUnit)
        if isinstance(radio, HotspotRadio):
            return _pressed(radio.press(body.talkgroup, body.slot, limit_s=body.seconds))
        pressed = radio.press(
            body.talkgroup,
            emergency=body.emergency,
            encrypted=body.encrypted,
            limit_s=body.seconds,
        )
        return _pressed(pressed)

    async def _feed(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        feed = _find(self._district.feeds, name, "feed")
        match request.match_info["action"]:
            case "silence":
                feed.feed.silent = (await _body(request, Fault)).active
            case "lose_ends":
                feed.no_ends = (await _body(request, Fault)).active
            case "drop":
                feed.feed.drop()
        return _json(_feed_state(name, feed))

    async def _power(self, request: web.Request) -> web.Response:
        camera = _find(self._district.cameras(), request.match_info["name"], "camera")
        await camera.power((await _body(request, Power)).on)
        return _json({"on": camera.powered})

    async def _repeater(self, request: web.Request) -> web.Response:
        repeater = _find(self._district.repeaters, int(request.match_info["id"]), "repeater")
        match request.match_info["action"]:
            case "unplug":
                repeater.unplug()
            case "plug":
                repeater.plug()
            case "loss":
                repeater.network.loss = (await _body(request, Loss)).ratio
        return _json({"state": repeater.state})

    async def _end_stream(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        servers = {channel: zello for zello in self._district.zello for channel in zello.channels}
        return _json({"ended": _find(servers, name, "channel").end_stream(name)})

    async def _drop(self, request: web.Request) -> web.Response:
        return _json({"dropped": sum(one.drop_connections() for one in self._district.zello)})


# --- answers ------------------------------------------------------------------------------------


def _json(data: Any, status: int = 200) -> web.Response:
    text = json.dumps(data, ensure_ascii=False)
    return web.Response(text=text, status=status, content_type="application/json")


def _pressed(pressed: bool) -> web.Response:
    """409 where the channel is busy: nothing was keyed."""
    return _json({"pressed": pressed}, 200 if pressed else 409)


Key = TypeVar("Key")
Thing = TypeVar("Thing")
Wanted = TypeVar("Wanted", bound=_Body)


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _find(things: Mapping[Key, Thing], key: Key, what: str) -> Thing:
    if key not in things:
        raise _Refused(404, f"there is no {what} {key}")
    return things[key]


async def _body(request: web.Request, wanted: type[Wanted]) -> Wanted:
    try:
        return wanted.model_validate_json(await request.read())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise _Refused(422, f"{where}: {first['msg']}" if where else first["msg"]) from None


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keep web pages out: a browser names its page, and a rebound name is not ours."""
    name = request.host.rsplit(":", 1)[0]
    if "Origin" in request.headers or name not in LOOPBACK_NAMES:
        return _json({"error": "not for web pages"}, 403)
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except _Refused as refused:
        return _json({"error": str(refused)}, refused.status)
    except web.HTTPException as refused:
        return _json({"error": refused.reason}, refused.status)
    except OSError as error:
        return _json({"error": str(error)}, 503)


def _camera_state(name: str, camera: OnvifCamera | RtspCamera) -> dict[str, Any]:
    if isinstance(camera, OnvifCamera):
        kind, url = "onvif", camera.device_url
    else:
        kind, url = "rtsp", camera.url("main")
    return {"name": name, "kind": kind, "url": url, "on": camera.powered}


def _repeater_state(repeater: Repeater) -> dict[str, Any]:
    return {
        "id": repeater.id,
        "callsign": repeater.callsign,
        "state": repeater.state,
        "signed_in": repeater.signed_in,
        "last_error": repeater.last_error,
        "counts": dataclasses.asdict(repeater.counts) | {"lost": repeater.network.lost},
        "slots": {number: {"busy": slot.busy} for number, slot in repeater.slots.items()},
    }


def _radio_state(radio: Radio, repeater: Repeater) -> dict[str, Any]:
    return {
        "id": radio.id,
        "alias": radio.alias,
        "repeater": repeater.id,
        "pressing": radio.pressing,
        "refused": radio.refused,
        "heard": [_heard_state(heard) for heard in radio.heard[-TAIL:]],
    }


def _heard_state(heard: Heard) -> dict[str, Any]:
    """Without the voice and the time between packets, which are long."""
    fields = dataclasses.asdict(dataclasses.replace(heard, gaps_ms=[], voice=[]))
    del fields["gaps_ms"], fields["voice"]
    return fields | {
        "control": heard.control.hex(),
        "colour_codes": sorted(heard.colour_codes),
        "lc_ok": heard.lc_ok,
        "longest_gap_ms": max(heard.gaps_ms, default=0.0),
    }


def _feed_state(name: str, feed: TrunkRecorder | MmdvmHost) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "mmdvm" if isinstance(feed, MmdvmHost) else "trunk_recorder",
        "connected": feed.feed.connected,
        "silent": feed.feed.silent,
        "no_ends": feed.no_ends,
        "sent": feed.feed.sent,
        "lost": feed.feed.lost,
        "units": [
            {"id": int(unit), "pressing": radio.pressing} for unit, radio in feed.radios.items()
        ],
    }


def _zello_state(server: ZelloServer) -> dict[str, Any]:
    return {
        "url": server.url,
        "channels": list(server.channels),
        "connected": sorted(one.username for one in server.sessions if one.logged_on),
        "log": [record.as_json() for record in server.log[-TAIL:]],
    }


def _phone_state(phone: Phone) -> dict[str, Any]:
    return {
        "name": phone.username,
        "channels": list(phone.channels),
        "talking_on": phone.talking_on,
        "pressing": phone.pressing,
        "refused": phone.refused,
        "heard": [
            {k: v for k, v in dataclasses.asdict(heard).items() if k != "gaps_ms"}
            for heard in phone.heard[-TAIL:]
        ],
        "texts": [dataclasses.asdict(text) for text in phone.texts[-TAIL:]],
    }
