"""Cameras and recorders: discover, register, refresh."""

import asyncio
import dataclasses
import ipaddress
from collections.abc import Awaitable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from adapters import catalog
from adapters.base import Capability
from adapters.errors import InvalidSettings, TimedOut
from adapters.events import Found, Inventory, Scope, Source
from gateway.agents.build import settings_model, split_secrets, video_adapter
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
from registry import devices, organizations
from registry.database import Connection
from registry.devices import DeviceIdentity, NewDevice
from registry.errors import Forbidden, Invalid
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.partition import INTEGRATE, Principal, require, top_paths
from registry.sources import FoundSource, Profile

router = APIRouter(tags=["devices"])

PROBE_TIMEOUT_S = 20.0
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


class DiscoverBody(Body):
    """interfaces: own addresses to ask from, empty for all. subnets: CIDR blocks to ask one
    address after the other. port: of the discovery protocol, 0 for its own."""

    adapter: Text = "onvif"
    interfaces: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)
    subnets: Annotated[list[Text], Field(max_length=32)] = Field(default_factory=list)
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 3.0

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
    services: CurrentServices,
    principal: CurrentPrincipal,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> Response:
    """Look for devices on the network; the job's report lists those found."""
    if not top_paths(principal, INTEGRATE):
        raise Forbidden("looking for devices needs the role integrator or admin")
    scope = body.scope()
    kind = catalog.load(body.adapter)
    if Capability.DISCOVER not in kind.capabilities:
        raise Invalid.at("adapter", f"devices of kind {body.adapter} cannot be looked for")

    async def work(progress: Progress) -> Mapping[str, Any]:
        found: list[Found] = []
        async for each in kind.discover(scope):
            found.append(each)
            if len(found) % 50 == 0:
                await progress(len(found), None, None)
        return {"found": [dataclasses.asdict(each) for each in found]}

    job = await services.jobs.start(principal, "discover", work, idempotency_key)
    location = {"Location": f"/api/v1/jobs/{job.id}"}
    return answer(job_shape(job), status=202, headers=location)


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
    adapter = video_adapter(
        body.adapter, body.endpoint, body.username, body.password, body.settings
    )
    inventory = await _in_time(adapter.probe(), body.endpoint)
    new = NewDevice(
        adapter=body.adapter,
        endpoint=body.endpoint,
        organization=body.organization,
        name=body.name,
        username=body.username,
        secret=context.sealer.seal(body.password) if body.password else None,
        settings=body.settings,
    )

    def write(connection: Connection) -> tuple[Any, Any]:
        registration = devices.register(
            connection,
            principal,
            new,
            found_sources(inventory),
            identity=identity_of(inventory),
            clock_offset_s=inventory.clock_offset_s,
        )
        return registration, devices.get(connection, principal, registration.device_id)

    registration, device = await context.database.write(write)
    services.nudge()
    shape = {**device_shape(device), **registration_shape(registration)}
    headers = {"Location": f"/api/v1/devices/{device.id}"}
    return answer(shape, status=201, version=device.version, headers=headers)


async def _in_time(probing: Awaitable[Inventory], device: str) -> Inventory:
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            return await probing
    except TimeoutError:
        reason = f"it did not tell what it is within {PROBE_TIMEOUT_S:g} s"
        raise TimedOut(reason, device=device) from None


def _may_register(connection: Connection, principal: Principal, reference: str) -> None:
    require(principal, INTEGRATE, organizations.get(connection, principal, reference).path)


def _check_settings(adapter: str, settings: Mapping[str, Any]) -> None:
    """The password has a field of its own; other secrets have nowhere safe to be kept."""
    _, hidden = split_secrets(adapter, settings)
    for name in ("endpoint", "username", *hidden):
        if name in settings:
            raise Invalid.at(f"settings.{name}", "has a field of its own outside settings")


def found_sources(inventory: Inventory) -> list[FoundSource]:
    return [_found_source(source) for source in inventory.sources]


def _found_source(source: Source) -> FoundSource:
    return FoundSource(
        address=source.address,
        name=source.name,
        channel_number=source.channel_number,
        profiles=tuple(
            Profile(
                name=profile.name,
                codec=profile.codec,
                width=profile.width,
                height=profile.height,
                fps=profile.fps,
                token=profile.token,
            )
            for profile in source.profiles
        ),
        capabilities=tuple(sorted(source.capabilities)),
        longitude_deg=source.longitude_deg,
        latitude_deg=source.latitude_deg,
    )


def identity_of(inventory: Inventory) -> DeviceIdentity:
    return DeviceIdentity(**dataclasses.asdict(inventory.identity))


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
    return answer(page_shape(page, device_shape))


@router.get("/devices/{device_id}")
async def get_device(
    device_id: str, context: CurrentContext, principal: CurrentPrincipal
) -> Response:
    device = await context.database.read(lambda c: devices.get(c, principal, device_id))
    return answer(device_shape(device), version=device.version)


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
    return answer(device_shape(device), version=device.version)


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
    inventory = await _in_time(services.cameras.probe(device_id), device_id)

    def write(connection: Connection) -> tuple[Any, Any]:
        registration = devices.refresh(
            connection,
            principal,
            device_id,
            found_sources(inventory),
            identity=identity_of(inventory),
            clock_offset_s=inventory.clock_offset_s,
        )
        return registration, devices.get(connection, principal, device_id)

    registration, device = await context.database.write(write)
    services.nudge()
    shape = {**device_shape(device), **registration_shape(registration)}
    return answer(shape, version=device.version)
