"""Radio and PTT systems and their channels."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from adapters import catalog
from gateway.access.roles import may_integrate
from gateway.agents.build import radio_adapter, split_secrets
from gateway.api.bodies import Body, Name, Reference, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import (
    Shape,
    answer,
    channel_shape,
    given_version,
    page_shape,
    required_version,
    system_shape,
)
from registry import channels, organizations, systems
from registry.channels import NewChannel
from registry.database import Connection
from registry.errors import Invalid
from registry.paging import DEFAULT_LIMIT, MAX_LIMIT
from registry.partition import INTEGRATE, Principal, require
from registry.systems import NewSystem, System

router = APIRouter(tags=["radio"])

Address = Annotated[Text, Field(min_length=1, max_length=200)]
Priority = Annotated[int, Field(ge=0, le=254)]
Seconds = Annotated[float, Field(gt=0, le=60, allow_inf_nan=False)]


class SystemBody(Body):
    """settings: of the adapter kind, secrets among them; those are sealed and never read back."""

    adapter: Text
    name: Name
    organization: Reference
    settings: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True


class SystemPatch(Body):
    name: Name = ""
    organization: Reference = ""
    settings: dict[str, Any] = Field(default_factory=dict)
    enabled: bool = True


class ChannelBody(Body):
    """address: the system's own word: a PTT channel's name, ``{slot}/{talkgroup}`` on DMR. air:
    which talkgroup of which network that is, ``{wacn}.{system id}/{talkgroup}``."""

    system: Text
    address: Address
    name: Name
    organization: Reference | None = None
    priority: Priority = 0
    gateway_unit_id: Annotated[Text, Field(max_length=64)] = ""
    hold_s: Seconds | None = None
    echo_s: Seconds | None = None
    air: Annotated[Text, Field(max_length=64)] = ""


class ChannelPatch(Body):
    """echo_s: how late our own key comes back, null for as it was measured or else the adapter's.
    measured_echo_s: null forgets what was measured."""

    name: Name = ""
    organization: Reference = ""
    priority: Priority = 0
    gateway_unit_id: Annotated[Text, Field(max_length=64)] = ""
    hold_s: Seconds | None = None
    echo_s: Seconds | None = None
    measured_echo_s: None = None
    air: Annotated[Text, Field(max_length=64)] = ""


class ListQuery(Body):
    organization: Reference | None = None
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT
    cursor: Annotated[str, Field(max_length=200)] | None = None


class ChannelQuery(ListQuery):
    system: Text | None = None
    kind: Literal["trunk", "ptt"] | None = None
    q: Annotated[Text, Field(max_length=100)] | None = None


def _shape(system: System, principal: Principal, services: Services) -> Shape:
    shown = may_integrate(principal, system.organization.path)
    states = services.system_states
    state = states.state(system.id) if states is not None else None
    return system_shape(system, with_settings=shown, state=state)


def _split(
    context: Context, adapter: str, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], bytes | None]:
    """Check settings as the adapter does; give the plain part, and the secret part sealed."""
    serves = catalog.kinds().get(adapter)
    if serves is not None and serves.serves == "video":
        raise Invalid.at("adapter", f"{adapter} is not a kind of radio or PTT system")
    radio_adapter(adapter, settings, ())
    plain, hidden = split_secrets(adapter, settings)
    return plain, context.sealer.seal(json.dumps(hidden)) if hidden else None


@router.get("/systems")
async def list_systems(
    query: Annotated[ListQuery, Query()],
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    page = await context.database.read(
        lambda c: systems.page(
            c, principal, organization=query.organization, limit=query.limit, cursor=query.cursor
        )
    )
    return answer(page_shape(page, lambda system: _shape(system, principal, services)))


@router.post("/systems", status_code=201)
async def create_system(
    body: SystemBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:

    def check_right(connection: Connection) -> None:
        owner = organizations.get(connection, principal, body.organization)
        require(principal, INTEGRATE, owner.path)

    await context.database.read(check_right)
    plain, sealed = _split(context, body.adapter, body.settings)
    new = NewSystem(
        adapter=body.adapter,
        name=body.name,
        organization=body.organization,
        settings=plain,
        secrets=sealed,
        enabled=body.enabled,
    )
    system = await context.database.write(lambda c: systems.create(c, principal, new))
    services.nudge()
    headers = {"Location": f"/api/v1/systems/{system.id}"}
    return answer(
        _shape(system, principal, services), status=201, version=system.version, headers=headers
    )


@router.get("/systems/{system_id}")
async def get_system(
    system_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    system = await context.database.read(lambda c: systems.get(c, principal, system_id))
    return answer(_shape(system, principal, services), version=system.version)


@router.patch("/systems/{system_id}")
async def update_system(
    system_id: str,
    body: SystemPatch,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Settings that are given replace those of the same name; secrets that are not stay."""
    version = required_version(request)
    changes = body.given()
    if "settings" in changes:

        def read(connection: Connection) -> systems.RunningSystem:
            system = systems.get(connection, principal, system_id)
            require(principal, INTEGRATE, system.organization.path)
            return systems.run(connection, system_id)

        before = await context.database.read(read)
        hidden = json.loads(context.sealer.open(before.secrets)) if before.secrets else {}
        merged = {**before.system.settings, **hidden, **changes["settings"]}
        given = {name: value for name, value in merged.items() if value is not None}
        changes["settings"], changes["secrets"] = _split(context, before.system.adapter, given)
    system = await context.database.write(
        lambda c: systems.update(c, principal, system_id, changes, version)
    )
    services.nudge()
    return answer(_shape(system, principal, services), version=system.version)


@router.delete("/systems/{system_id}", status_code=204)
async def delete_system(
    system_id: str,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: systems.delete(c, principal, system_id, version))
    services.nudge()
    return Response(status_code=204)


@router.get("/systems/{system_id}/unregistered")
async def unregistered(
    system_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Channels that were heard and that nobody registered, by their address; of a system that
    another node runs, those most heard."""
    system = await context.database.read(lambda c: systems.get(c, principal, system_id))
    require(principal, INTEGRATE, system.organization.path)
    agent = services.systems.get(system.id)
    states = services.system_states
    known = agent.unregistered if agent else states.unregistered(system.id) if states else {}
    items = [{"address": address, "events": count} for address, count in sorted(known.items())]
    return answer({"items": items, "next": None, "total": len(items)})


@router.get("/channels")
async def list_channels(
    query: Annotated[ChannelQuery, Query()],
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    page = await context.database.read(
        lambda c: channels.page(
            c,
            principal,
            organization=query.organization,
            system=query.system,
            kind=query.kind,
            q=query.q if query.q and query.q.strip() else None,
            limit=query.limit,
            cursor=query.cursor,
        )
    )
    feed = services.feed
    return answer(page_shape(page, lambda each: channel_shape(each, feed.channel_state(each.id))))


@router.post("/channels", status_code=201)
async def create_channel(
    body: ChannelBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    system = await context.database.read(lambda c: systems.get(c, principal, body.system))
    kind = catalog.kinds().get(system.adapter)
    new = NewChannel(
        system=system.id,
        address=body.address,
        name=body.name,
        kind=kind.serves if kind else "trunk",
        organization=body.organization,
        priority=body.priority,
        gateway_unit_id=body.gateway_unit_id,
        hold_s=body.hold_s,
        echo_s=body.echo_s,
        air=body.air,
    )
    channel = await context.database.write(lambda c: channels.create(c, principal, new))
    services.nudge()
    headers = {"Location": f"/api/v1/channels/{channel.id}"}
    return answer(channel_shape(channel), status=201, version=channel.version, headers=headers)


@router.get("/channels/{channel_id}")
async def get_channel(
    channel_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    channel = await context.database.read(lambda c: channels.get(c, principal, channel_id))
    shape = channel_shape(channel, services.feed.channel_state(channel.id))
    return answer(shape, version=channel.version)


@router.patch("/channels/{channel_id}")
async def update_channel(
    channel_id: str,
    body: ChannelPatch,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = required_version(request)
    channel = await context.database.write(
        lambda c: channels.update(c, principal, channel_id, body.given(), version)
    )
    services.nudge()
    shape = channel_shape(channel, services.feed.channel_state(channel.id))
    return answer(shape, version=channel.version)


@router.delete("/channels/{channel_id}", status_code=204)
async def delete_channel(
    channel_id: str,
    request: Request,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    version = given_version(request)
    await context.database.write(lambda c: channels.delete(c, principal, channel_id, version))
    services.nudge()
    return Response(status_code=204)
