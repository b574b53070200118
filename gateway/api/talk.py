"""What a dispatcher does on the air: press, clear, mute, move, test. The bridge decides it."""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from gateway.access.roles import may_dispatch
from gateway.api.bodies import Body, Text
from gateway.api.context import Context, CurrentContext, CurrentPrincipal
from gateway.api.services import CurrentServices, Services
from gateway.api.shapes import answer, patch_shape
from gateway.bus.errors import BrokerAway
from gateway.bus.messages import encode
from gateway.interop.patch_test import MEMBER_TAKES_S
from registry import channels, patches
from registry.channels import Channel
from registry.database import Connection
from registry.errors import Conflict, Forbidden
from registry.partition import DISPATCH, SYSTEM, Principal, Role, require
from registry.patches import Patch

router = APIRouter(tags=["radio"])

ANSWER_TIMEOUT_S = 2.0
MAX_PRESS_PRIORITY = 100
"""What a dispatcher's press may be worth; an admin may go up to 254."""

Priority = Annotated[int, Field(ge=0, le=254)]


class TalkBody(Body):
    action: Literal["press", "refresh", "release"]
    priority: Priority = 0


class MemberChange(Body):
    """One of them. muted: it listens only. move_to: id of another patch. suspended: false puts a
    member back that the breaker took out."""

    muted: bool | None = None
    move_to: Text | None = None
    suspended: Literal[False] | None = None

    @model_validator(mode="after")
    def _one(self) -> "MemberChange":
        if len(self.given()) != 1:
            raise ValueError("give one of muted, move_to, suspended")
        return self


@router.post("/channels/{channel_id}/talk", status_code=202)
async def talk(
    channel_id: str,
    body: TalkBody,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """A dispatcher's own press; ends without a refresh every 2 s. The bridge decides."""
    channel = await context.database.read(lambda c: channels.get(c, principal, channel_id))
    path = channel.organization.path
    if not may_dispatch(principal, path):
        raise Forbidden("talking needs the role dispatcher or admin here")
    cap = 254 if principal.may({Role.ADMIN}, path) else MAX_PRESS_PRIORITY
    priority = min(body.priority, cap)
    decided = await _ask_bridge(services, channel, principal, body.action, priority=priority)
    shape = {name: decided.get(name) for name in ("transmission", "state", "position", "reason")}
    return answer(shape, status=202)


@router.post("/channels/{channel_id}/emergency/clear", status_code=202)
async def clear_emergency(
    channel_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """End the emergencies on a channel; recorded with who did it."""

    def note(connection: Connection) -> Channel:
        channel = channels.get(connection, principal, channel_id)
        require(principal, DISPATCH, channel.organization.path)
        channels.note(connection, principal, channel, "clear emergency")
        return channel

    channel = await context.database.write(note)
    decided = await _ask_bridge(services, channel, principal, "emergency.clear")
    return answer({"cleared": decided.get("cleared", [])}, status=202)


@router.post("/patches/{patch_id}/clear", status_code=202)
async def clear_patch(
    patch_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Take the floor from whoever holds it; who talks is barred until their talk ends."""
    patch, channel = await _noted(context, principal, patch_id, "clear", {})
    decided = await _ask_bridge(services, channel, principal, "clear", patch=patch.id)
    return answer({"cleared": decided.get("cleared")}, status=202)


@router.post("/patches/{patch_id}/members/{channel_id}")
async def change_member(
    patch_id: str,
    channel_id: str,
    body: MemberChange,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Mute a member, move it to another patch while a call runs, or end its suspension."""
    database = context.database
    if body.move_to is not None:
        target = body.move_to
        patch, joined = await database.write(
            lambda c: patches.move(c, principal, patch_id, channel_id, target)
        )
        services.nudge()
        return answer({"from": patch_shape(patch), "to": patch_shape(joined)})
    if body.muted is not None:
        muted = body.muted
        patch = await database.write(
            lambda c: patches.mute(c, principal, patch_id, channel_id, muted=muted)
        )
        services.nudge()
        return answer(patch_shape(patch), version=patch.version)
    patch, channel = await _noted(
        context, principal, patch_id, "resume", {"channel": channel_id}, channel_id
    )
    await _ask_bridge(services, channel, principal, "member.resume", patch=patch.id)
    return answer(patch_shape(patch), version=patch.version)


@router.post("/patches/{patch_id}/test")
async def test_patch(
    patch_id: str,
    context: CurrentContext,
    services: CurrentServices,
    principal: CurrentPrincipal,
) -> Response:
    """Key each member for a moment, one after the other: how long does it take, does it come back
    there, does it come out somewhere else? 409 while somebody talks."""
    patch, channel = await _noted(context, principal, patch_id, "test", {})
    timeout_s = ANSWER_TIMEOUT_S + MEMBER_TAKES_S * len(patch.members)
    report = await _ask_bridge(
        services, channel, principal, "test", timeout_s=timeout_s, patch=patch.id
    )
    if report.get("state") == "busy":
        raise Conflict("somebody talks in this patch now: test it when it is quiet")
    members: list[dict[str, Any]] = report.get("members", [])
    await _keep_echoes(context, services, principal, patch, members)
    return answer({"members": members})


async def _keep_echoes(
    context: Context,
    services: Services,
    principal: Principal,
    patch: Patch,
    members: list[dict[str, Any]],
) -> None:
    """What came back is how late it does, from now on. Silence says nothing: perhaps nobody was
    there who repeats us."""
    tested = {each.channel_id for each in patch.members}
    measured = {
        str(each["channel"]): float(each["echo_s"])
        for each in members
        if each.get("outcome") == "done" and each.get("echo_s") and each["channel"] in tested
    }
    if not measured:
        return
    if await context.database.write(lambda c: channels.note_echoes(c, principal, measured)):
        services.nudge()


async def _noted(
    context: Context,
    principal: Principal,
    patch_id: str,
    action: str,
    details: Mapping[str, Any],
    channel_id: str | None = None,
) -> tuple[Patch, Channel]:
    """Write down what is done to a patch, and by whom; the patch, and the channel to ask by: the
    one named, else its first. Raises: NotFound, Forbidden, Conflict for one without members."""

    def note(connection: Connection) -> tuple[Patch, Channel]:
        patch = patches.get(connection, principal, patch_id)
        patches.note(connection, principal, patch, action, details)
        members = [each.channel_id for each in patch.members]
        if not members:
            raise Conflict("this patch has no members")
        if channel_id is not None and channel_id not in members:
            raise Conflict("that channel is no member of this patch")
        # Who may dispatch a patch may do so whether or not they see each of its channels.
        return patch, channels.get(connection, SYSTEM, channel_id or members[0])

    return await context.database.write(note)


async def _ask_bridge(
    services: Services,
    channel: Channel,
    principal: Principal,
    action: str,
    *,
    timeout_s: float = ANSWER_TIMEOUT_S,
    **fields: Any,
) -> dict[str, Any]:
    request_id = uuid.uuid4().hex
    request = {
        "id": request_id,
        "action": action,
        "user": principal.user_id,
        "alias": principal.name,
        **fields,
    }
    bus = services.bus
    topic = bus.topics.org("channels", "request", channel.organization.path, channel.id)
    with services.feed.expecting(request_id) as waiting:
        if not bus.publish(topic, encode(request)):
            raise BrokerAway("the broker is away, so nobody can talk through us now")
        await asyncio.wait([waiting], timeout=timeout_s)
        decided = waiting.result() if waiting.done() else None
    if decided is None:
        raise BrokerAway("no bridge answers, so nobody can talk through us now")
    if decided.get("state") == "off":
        raise Conflict("this patch is not on now")
    return dict(decided)
