"""Moving a camera: continuous, by a way, to a place, to presets; and who does it now."""

import asyncio
import contextlib
import unicodedata
from collections.abc import Coroutine
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field, StringConstraints, model_validator

from adapters.events import (
    Command,
    GoToPreset,
    ListPresets,
    MovePtz,
    Outcome,
    PlacePtz,
    RemovePreset,
    Result,
    SetPreset,
    ShiftPtz,
)
from gateway.access.roles import may_dispatch, may_move
from gateway.agents.cameras import NoCamera
from gateway.agents.ptz_lock import Holder, Rank
from gateway.api.bodies import Body, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import answer, timestamp
from registry import masks, points
from registry.errors import Conflict, Forbidden, NotFound
from registry.partition import ADMINISTER, Principal
from registry.points import Point

router = APIRouter(tags=["ptz"])

Speed = Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
PresetName = Annotated[
    Text,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$"
    ),
]


class Way(Body):
    """-1..1 of the whole range."""

    pan: Speed = 0.0
    tilt: Speed = 0.0
    zoom: Speed = 0.0


class PlaceBody(Body):
    """pan, tilt: -1..1 from one end to the other; zoom: 0 wide .. 1 near."""

    pan: Speed | None = None
    tilt: Speed | None = None
    zoom: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None

    @model_validator(mode="after")
    def _whole(self) -> "PlaceBody":
        if (self.pan is None) != (self.tilt is None):
            raise ValueError("pan and tilt go together")
        return self


class PtzBody(Body):
    """One of: pan, tilt, zoom, -1..1 of full speed, for duration_ms; relative; absolute; preset;
    stop."""

    pan: Speed = 0.0
    tilt: Speed = 0.0
    zoom: Speed = 0.0
    duration_ms: Annotated[int, Field(ge=1, le=10_000)] = 500
    relative: Way | None = None
    absolute: PlaceBody | None = None
    preset: PresetName | None = None
    stop: bool = False

    @model_validator(mode="after")
    def _says_one_thing(self) -> "PtzBody":
        moves = bool(self.pan or self.tilt or self.zoom)
        said = [self.relative, self.absolute, self.preset, moves or None, self.stop or None]
        if sum(each is not None for each in said) != 1:
            raise ValueError("say pan, tilt or zoom, or relative, absolute, preset or stop")
        return self

    def command(self, address: str) -> Command:
        if self.relative is not None:
            way = self.relative
            return ShiftPtz(address=address, pan=way.pan, tilt=way.tilt, zoom=way.zoom)
        if self.absolute is not None:
            to = self.absolute
            return PlacePtz(address=address, pan=to.pan, tilt=to.tilt, zoom=to.zoom)
        if self.preset is not None:
            return GoToPreset(address=address, name=self.preset)
        if self.stop:
            return MovePtz(address=address, duration_ms=0)
        return MovePtz(
            address=address,
            pan=self.pan,
            tilt=self.tilt,
            zoom=self.zoom,
            duration_ms=self.duration_ms,
        )


@router.get("/{point_id}/ptz")
async def see_lock(
    point_id: str, context: CurrentContext, services: CurrentServices, principal: CurrentPrincipal
) -> Response:
    """Who moves it now, if anybody does."""
    point = await _movable(context, principal, point_id)
    return answer({"lock": _lock(services, point)})


@router.post("/{point_id}/ptz")
async def move(
    point_id: str,
    body: PtzBody,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Move a camera, or stop it. It stops by itself after duration_ms, and when whoever asked for
    a movement closes the connection before that."""
    point = await _movable(context, principal, point_id)
    lasts_s = 0.0 if body.stop else body.duration_ms / 1_000
    _take(services, principal, point, lasts_s, only_look=body.stop)
    await _record(context, principal, point, "ptz", body.model_dump(exclude_unset=True))
    with _nowhere_known(services, point):
        outcome = await _while_present(request, _execute(services, point, body.command))
    if outcome is None:
        return Response(status_code=408)  # nobody is there to read it
    _check(outcome, body.preset)
    return answer({"result": "done", "lock": _lock(services, point)})


@router.get("/{point_id}/presets")
async def list_presets(
    point_id: str, context: CurrentContext, services: CurrentServices, principal: CurrentPrincipal
) -> Response:
    """The camera's own presets."""
    point = await _movable(context, principal, point_id)
    outcome = await _execute(services, point, lambda address: ListPresets(address=address))
    _check(outcome, None)
    items = [{"name": name} for name in outcome.presets]
    shape = {"items": items, "next": None, "total": len(items), "lock": _lock(services, point)}
    return answer(shape)


@router.put("/{point_id}/presets/{name}")
async def put_preset(
    point_id: str,
    name: Annotated[PresetName, Path()],
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Keep where the camera points now under a name."""
    point = await _movable(context, principal, point_id)
    await _refuse_masked(context, point, name)
    _take(services, principal, point)
    await _record(context, principal, point, "set_preset", {"preset": name})
    outcome = await _execute(services, point, lambda at: SetPreset(address=at, name=name))
    _check(outcome, name)
    return answer({"name": name, "lock": _lock(services, point)})


@router.delete("/{point_id}/presets/{name}", status_code=204)
async def delete_preset(
    point_id: str,
    name: Annotated[PresetName, Path()],
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    point = await _movable(context, principal, point_id)
    await _refuse_masked(context, point, name)
    _take(services, principal, point)
    await _record(context, principal, point, "remove_preset", {"preset": name})
    outcome = await _execute(services, point, lambda at: RemovePreset(address=at, name=name))
    _check(outcome, name)
    return Response(status_code=204)


async def _movable(context: Context, principal: Principal, point_id: str) -> Point:
    """Raises: NotFound outside the partition, Forbidden without the right."""
    point = await context.database.read(lambda c: points.get(c, principal, point_id))
    if not may_move(principal, point):
        raise Forbidden("moving a camera needs the role dispatcher or admin here")
    return point


def _nowhere_known(services: Services, point: Point) -> contextlib.AbstractContextManager[None]:
    """While it moves, and until it was found at a preset again, masked views of it are blank."""
    if services.covers is None:
        return contextlib.nullcontext()
    return services.covers.whereabouts.moves(point.id)


async def _refuse_masked(context: Context, point: Point, preset: str) -> None:
    """Raises: Conflict for a preset that masks were drawn for: elsewhere they would hide nothing
    that is to be hidden."""
    found = await context.database.read(lambda c: masks.of_points(c, [point.id]))
    known = found.get(point.id)
    if known is not None and unicodedata.normalize("NFC", preset.strip()) in known.presets:
        raise Conflict(
            f"the preset {preset!r} has privacy masks: an admin takes them off before it changes"
        )


def _rank(principal: Principal, point: Point) -> Rank:
    path = point.organization.path
    if principal.may(ADMINISTER, path):
        return Rank.ADMIN
    return Rank.DISPATCHER if may_dispatch(principal, path) else Rank.SHARE


def _take(
    services: Services,
    principal: Principal,
    point: Point,
    lasts_s: float = 0.0,
    *,
    only_look: bool = False,
) -> None:
    """Raises: Conflict naming whoever moves it now."""
    locks, rank, who = services.ptz_locks, _rank(principal, point), principal.user_id
    if only_look:
        other = locks.in_the_way(point.id, who, rank)
    else:
        other = locks.take(point.id, who, principal.name, rank, lasts_s)
    if other is not None:
        role, until = other.rank.name.lower(), timestamp(other.until)
        raise Conflict(f"{other.name} ({role}) moves it until {until}", other=other.name)


def _lock(services: Services, point: Point) -> dict[str, Any] | None:
    holder: Holder | None = services.ptz_locks.holder(point.id)
    if holder is None:
        return None
    return {
        "user": holder.name,
        "role": holder.rank.name.lower(),
        "until": timestamp(holder.until),
    }


async def _execute(services: Services, point: Point, command: Any) -> Outcome:
    try:
        return await services.cameras.execute(point.id, command)
    except NoCamera:
        raise Conflict("this point has no camera: no source is bound to it") from None


def _check(outcome: Outcome, preset: str | None) -> None:
    """Raises: NotFound, Conflict."""
    if outcome.missing and preset is not None:
        raise NotFound("preset", preset)
    if outcome.result is not Result.DONE:
        raise Conflict(f"the camera did not do it: {outcome.reason}")


async def _while_present(request: Request, work: Coroutine[Any, Any, Outcome]) -> Outcome | None:
    """Do the work unless whoever asked goes; None then, and the work is cancelled to its end."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        working.cancel()
        gone.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _record(
    context: Context, principal: Principal, point: Point, action: str, details: dict[str, object]
) -> None:
    owner = point.organization
    await context.audit.record(principal, action, "point", point.id, owner, details)
