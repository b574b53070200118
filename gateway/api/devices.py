"""Cameras and recorders: discover, register, refresh."""

import asyncio
import dataclasses
import ipaddress
import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from adapters import catalog
from adapters.base import Capability
from adapters.errors import InvalidSettings
from adapters.events import Found, Scope
from gateway.agents.build import settings_model, split_secrets, video_adapter
from gateway.agents.onboarding import (
    Onboarding,
    Result,
    Wish,
    found_sources,
    identity_of,
    in_time,
)
from gateway.api import clock
from gateway.api.background import Progress
from gateway.api.bodies import Body, Name, Password, Reference, Text
from gateway.api.context import CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices
from gateway.api.shapes import (
    Shape,
    answer,
    device_shape,
    given_version,
    job_shape,
    page_shape,
    registration_shape,
    required_version,
)
from registry import devices, organizations, recognition
from registry.binding import AmbiguousSource
from registry.database import Connection
from registry.devices import Device
from registry.errors import Forbidden, Invalid
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.partition import INTEGRATE, Principal, require, top_paths

router = APIRouter(tags=["devices"])
router.include_router(clock.router)

_TELL_EVERY_S = 1.0
_REPORT_EVERY = 5
Endpoint = Annotated[Text, Field(min_length=1, max_length=500)]


class DeviceBody(Body):
    """settings: of the adapter kind, as its schema in `GET /adapters` has them."""

    adapter: Text
    endpoint: Endpoint
    username: Annotated[Text, Field(max_length=200)] = ""
    password: Password = ""
    organization: Reference
    name: Annotated[Text, Field(max_length=200)] = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class DevicePatch(Body):
    """A JSON Merge Patch; a password is written, never read."""

    name: Name = ""
    endpoint: Endpoint = ""
    username: Annotated[Text, Field(max_length=200)] = ""
    password: Password = ""
    organization: Reference = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class RegisterBody(Body):
    """Register what is found, with these credentials. settings: of the adapter kind."""

    organization: Reference
    username: Annotated[Text, Field(max_length=200)] = ""
    password: Password = ""
    settings: dict[str, Any] = Field(default_factory=dict)


class DiscoverBody(Body):
    """interfaces: own addresses to ask from, empty for all. subnets: CIDR blocks to ask one
    address after the other. port: of the discovery protocol, 0 for its own. register: what to do
    with what is found, left out to only list it."""

    adapter: Text = "onvif"
    interfaces: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)
    subnets: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 3.0
    registering: Annotated[RegisterBody | None, Field(alias="register")] = None

    def scope(self) -> Scope:
        for field, values, kind in (
            ("interfaces", self.interfaces, ipaddress.ip_address),
            ("subnets", self.subnets, ipaddress.ip_network),
        ):
            for value in values:
                try:
                    kind(value)
                except ValueError:
                    raise Invalid.at(field, f"{value!r} is not an address of that kind") from None
        return Scope(
            interfaces=tuple(self.interfaces),
            subnets=tuple(self.subnets),
            port=self.port,
            timeout_s=self.timeout_s,
        )


class ListQuery(Body):
    organization: Reference | None = None
    q: Annotated[Text, Field(max_length=100)] | None = None
    status: Literal["online", "offline", "fault", "unknown"] | None = None
    adapter: Text | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=200)] | None = None


@router.get("/adapters")
async def list_adapters(_principal: CurrentPrincipal) -> Response:
    """Adapter kinds with what each can do and the JSON Schema of its settings."""
    items = [_kind_shape(kind) for _, kind in sorted(catalog.kinds().items())]
    return answer({"items": items, "next": None, "total": len(items)})


def _kind_shape(kind: catalog.Kind) -> Shape:
    """A kind whose packages are not installed is listed with the reason."""
    shape: Shape = {"name": kind.name, "serves": kind.serves, "unavailable": None}
    try:
        capabilities = sorted(kind.load().capabilities)
        schema = settings_model(kind.name).model_json_schema()
    except InvalidSettings as error:
        return {**shape, "unavailable": error.message, "capabilities": [], "settings": {}}
    return {**shape, "capabilities": capabilities, "settings": schema}


@router.post("/devices/discover", status_code=202)
async def discover(
    body: DiscoverBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Look for devices on the network, and register them where that is asked for.

    The job's report lists those found, and then what became of each; its progress counts both.
    """
    if not top_paths(principal, INTEGRATE):
        raise Forbidden("looking for devices needs the role integrator or admin")
    scope = body.scope()
    kind = catalog.load(body.adapter)
    if Capability.DISCOVER not in kind.capabilities:
        raise Invalid.at("adapter", f"devices of kind {body.adapter} cannot be looked for")
    wish: Wish | None = None
    if (wanted := body.registering) is not None:
        await context.database.read(lambda c: _may_register(c, principal, wanted.organization))
        _check_settings(body.adapter, wanted.settings)
        # Settings that cannot be are refused now, not once for each device.
        video_adapter(
            body.adapter, "device.invalid", wanted.username, wanted.password, wanted.settings
        )
        wish = Wish(
            adapter=body.adapter,
            endpoint="",
            organization=wanted.organization,
            username=wanted.username,
            password=wanted.password,
            secret=context.sealer.seal(wanted.password) if wanted.password else None,
            settings=wanted.settings,
        )

    async def work(progress: Progress) -> Mapping[str, Any]:
        found: list[Found] = []
        async for each in kind.discover(scope):
            found.append(each)
            if len(found) % 50 == 0:
                await progress(len(found) if wish is None else 0, None, None)
        report: dict[str, Any] = {"found": [dataclasses.asdict(each) for each in found]}
        if wish is not None:
            onboarding = Onboarding(context.database, services.cameras.probe)
            report["results"] = await _register_all(onboarding, principal, found, wish, progress)
            services.nudge()
        return report

    job = await services.jobs.start(principal, "discover", work, idempotency_key)
    location = {"Location": f"/api/v1/jobs/{job.id}"}
    return answer(job_shape(job), status=202, headers=location)


async def _register_all(
    onboarding: Onboarding,
    principal: Principal,
    found: Sequence[Found],
    wish: Wish,
    progress: Progress,
) -> list[Shape]:
    """The job tells how far it is every `_TELL_EVERY_S`, and what became of each so far every
    `_REPORT_EVERY` times: of thousands of devices that is megabytes."""
    results: list[Shape] = []

    def report() -> Mapping[str, Any]:
        return {"found": [dataclasses.asdict(each) for each in found], "results": results}

    async def tell() -> None:
        for number in itertools.count():
            whole = report() if number % _REPORT_EVERY == 0 else None
            await progress(len(results), len(found), whole)
            await asyncio.sleep(_TELL_EVERY_S)

    telling = asyncio.create_task(tell())
    try:
        await onboarding.register_found(
            principal, found, wish, lambda result: results.append(_result_shape(result))
        )
    finally:
        telling.cancel()
        await asyncio.wait([telling])
    await progress(len(results), len(found), None)
    return results


def _result_shape(result: Result) -> Shape:
    shape: Shape = {
        "endpoint": result.endpoint,
        "outcome": result.outcome,
        "reason": result.reason,
        "device": result.device_id,
    }
    return shape | (registration_shape(result.registration) if result.registration else {})


@router.post("/devices", status_code=201)
async def register(
    body: DeviceBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Probe a device, register it and bind its sources. Nothing is kept when the probe fails."""
    await context.database.read(lambda c: _may_register(c, principal, body.organization))
    if Capability.PROBE not in catalog.load(body.adapter).capabilities:
        raise Invalid.at("adapter", f"{body.adapter} is not a kind of video device")
    _check_settings(body.adapter, body.settings)
    wish = Wish(
        adapter=body.adapter,
        endpoint=body.endpoint,
        organization=body.organization,
        name=body.name,
        username=body.username,
        password=body.password,
        secret=context.sealer.seal(body.password) if body.password else None,
        settings=body.settings,
    )
    onboarding = Onboarding(context.database, services.cameras.probe)
    done = await onboarding.register(principal, wish)
    services.nudge()
    device = done.device
    shape = {**_shape(device), **registration_shape(done.registration)}
    if done.moved_from is not None:
        return answer({**shape, "moved_from": done.moved_from}, version=device.version)
    headers = {"Location": f"/api/v1/devices/{device.id}"}
    return answer(shape, status=201, version=device.version, headers=headers)


def _shape(device: Device) -> Shape:
    """notes: what its last probe found odd, such as addresses that it announces wrongly."""
    return {**device_shape(device), "notes": list(device.notes)}


def _may_register(connection: Connection, principal: Principal, reference: str) -> None:
    require(principal, INTEGRATE, organizations.get(connection, principal, reference).path)


def _check_settings(adapter: str, settings: Mapping[str, Any]) -> None:
    """The password has a field of its own; other secrets have nowhere safe to be kept."""
    _, hidden = split_secrets(adapter, settings)
    for name in ("endpoint", "username", *hidden):
        if name in settings:
            raise Invalid.at(f"settings.{name}", "has a field of its own outside settings")


@router.get("/devices")
async def list_devices(
    query: Annotated[ListQuery, Query()], context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    page = await context.database.read(
        lambda c: devices.page(
            c,
            principal,
            organization=query.organization,
            q=query.q if query.q and query.q.strip() else None,
            status=query.status,
            adapter=query.adapter,
            limit=query.limit,
            cursor=query.cursor,
        )
    )
    return answer(page_shape(page, _shape))


@router.get("/devices/{device_id}")
async def get_device(
    device_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    """With the points that a source without one could be: `PUT /points/{id}/source` decides."""

    def read(connection: Connection) -> tuple[Device, tuple[AmbiguousSource, ...]]:
        device = devices.get(connection, principal, device_id)
        return device, recognition.ambiguous(connection, principal, device)

    device, waiting = await context.database.read(read)
    ambiguous = [{"address": each.address, "points": list(each.point_ids)} for each in waiting]
    return answer({**_shape(device), "ambiguous": ambiguous}, version=device.version)


@router.patch("/devices/{device_id}")
async def update_device(
    device_id: str,
    body: DevicePatch,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    changes = body.given()
    if "password" in changes:
        password = changes.pop("password")
        changes["secret"] = context.sealer.seal(password) if password else None
    if "settings" in changes or "endpoint" in changes:
        before = await context.database.read(lambda c: devices.get(c, principal, device_id))
        merged = {**before.settings, **changes.get("settings", {})}
        settings = {name: value for name, value in merged.items() if value is not None}
        _check_settings(before.adapter, settings)
        video_adapter(before.adapter, changes.get("endpoint", before.endpoint), "", "", settings)
        changes["settings"] = settings
    device = await context.database.write(
        lambda c: devices.update(c, principal, device_id, changes, version)
    )
    services.nudge()
    return answer(_shape(device), version=device.version)


@router.delete("/devices/{device_id}", status_code=204)
async def delete_device(
    device_id: str,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Remove a device; its points stay, without a source."""
    version = given_version(request)
    await context.database.write(lambda c: devices.delete(c, principal, device_id, version))
    services.nudge()
    return Response(status_code=204)


@router.post("/devices/{device_id}/refresh")
async def refresh_device(
    device_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Probe a registered device anew; sources keep their points by address."""

    def may(connection: Connection) -> None:
        device = devices.get(connection, principal, device_id)
        require(principal, INTEGRATE, device.organization.path)

    await context.database.read(may)
    inventory = await in_time(services.cameras.probe(device_id), device_id)

    def write(connection: Connection) -> tuple[Any, Any]:
        registration = devices.refresh(
            connection,
            principal,
            device_id,
            found_sources(inventory),
            identity=identity_of(inventory),
            clock_offset_s=inventory.clock_offset_s,
            notes=inventory.notes,
            settings=inventory.settings,
        )
        return registration, devices.get(connection, principal, device_id)

    registration, device = await context.database.write(write)
    services.nudge()
    shape = {**_shape(device), **registration_shape(registration)}
    return answer(shape, version=device.version)
