"""The shapes of the contract: from the registry's dataclasses to JSON, and what comes with them."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response

from gateway.api.errors import PreconditionFailed, PreconditionRequired
from registry import channels, points
from registry.audit import Act
from registry.binding import Registration
from registry.channels import Channel
from registry.devices import Device
from registry.jobs import Job
from registry.organizations import Counts, Organization, OrganizationRef
from registry.paging import Page
from registry.patch_options import document_of
from registry.patches import Patch
from registry.points import Move, Point
from registry.repartition import Plan
from registry.shares import Share
from registry.systems import System
from registry.tokens import Token
from registry.units import Unit
from registry.users import User

T = TypeVar("T")
Shape = dict[str, Any]

GEO_JSON = "application/geo+json"
_ENCODER = msgspec.json.Encoder()


def timestamp(at: datetime) -> str:
    """RFC 3339 in UTC with exactly three decimals and a Z."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def answer(
    body: Any,
    *,
    status: int = 200,
    version: int | None = None,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
) -> Response:
    """A JSON answer. version: of the one object that it is, as its ETag."""
    response = Response(
        _ENCODER.encode(body), status_code=status, media_type=media_type, headers=headers
    )
    if version is not None:
        response.headers["ETag"] = f'"{version}"'
    return response


def page_shape(page: Page[T], shape: Callable[[T], Shape]) -> Shape:
    return {
        "items": [shape(item) for item in page.items],
        "next": page.next,
        "total": page.total,
    }


def ref_shape(ref: OrganizationRef) -> Shape:
    return {"id": ref.id, "path": ref.path, "name": ref.name}


def organization_shape(organization: Organization, counts: Counts) -> Shape:
    return {
        "id": organization.id,
        "version": organization.version,
        "kind": organization.kind,
        "name": organization.name,
        "slug": organization.slug,
        "path": organization.path,
        "parent": organization.parent_id,
        "code": organization.code,
        "region": organization.region,
        "business_group_code": organization.business_group_code,
        "virtual_organization_code": organization.virtual_organization_code,
        "jurisdiction": organization.jurisdiction,
        "purpose_required": organization.purpose_required,
        "counts": {
            "points": counts.points,
            "online": counts.online,
            "offline": counts.offline,
            "fault": counts.fault,
            "unassigned": counts.unassigned,
        },
    }


def point_shape(point: Point) -> Shape:
    """Never the host, a user, a password or a stream address."""
    source = {"device": point.device_id, "address": point.address} if point.device_id else None
    return {
        "id": point.id,
        "version": point.version,
        "code": point.code,
        "name": point.name,
        "place": point.place,
        "organization": ref_shape(point.organization),
        "assigned_by": point.assigned_by,
        "longitude": point.longitude,
        "latitude": point.latitude,
        "category": point.category,
        "ownership": point.ownership,
        "source": source,
        "profiles": [
            {
                "name": each.name,
                "codec": each.codec,
                "width": each.width,
                "height": each.height,
                "fps": each.fps,
            }
            for each in point.profiles
        ],
        "status": point.status,
        "status_since": timestamp(point.status_since),
        "status_reason": point.status_reason,
        "capabilities": list(point.capabilities),
        "masked": point.masked,
        "shared": _shared_shape(point.shared),
        "attributes": point.attributes,
    }


def _shared_shape(shared: points.Shared | channels.Shared | None) -> Shape | None:
    if shared is None:
        return None
    return {"share": shared.share_id, "ends_at": timestamp(shared.ends_at)}


def feature_shape(point: Point) -> Shape:
    """A point as a GeoJSON feature; one without a place on the map has no geometry."""
    geometry = None
    if point.longitude is not None:
        geometry = {"type": "Point", "coordinates": [point.longitude, point.latitude]}
    return {
        "type": "Feature",
        "id": point.id,
        "geometry": geometry,
        "properties": point_shape(point),
    }


def features_shape(page: Page[Point]) -> Shape:
    return {
        "type": "FeatureCollection",
        "features": [feature_shape(point) for point in page.items],
        "next": page.next,
        "total": page.total,
    }


def move_shape(move: Move) -> Shape:
    return {
        "point": move.point_id,
        "from": move.source,
        "to": move.target,
        "assigned_by": move.assigned_by,
    }


def partition_shape(plan: Plan, *, dry_run: bool) -> Shape:
    """What a re-partition moves and why; moves are the first 1,000, flows count them all."""
    return {
        "organization": plan.path,
        "dry_run": dry_run,
        "examined": plan.examined,
        "explicit": plan.explicit,
        "without_position": plan.without_position,
        "unassigned": plan.unassigned,
        "moved": plan.moved,
        "moves": [
            {
                "point": each.point_id,
                "name": each.name,
                "from": each.source,
                "to": each.target,
                "was_assigned_by": each.was_assigned_by,
                "assigned_by": each.assigned_by,
                "why": {
                    "rule": each.why.rule,
                    "covered_by": list(each.why.covered_by),
                    "border_of": list(each.why.border_of),
                    "hole_of": list(each.why.hole_of),
                    "sentence": each.why.sentence,
                },
            }
            for each in plan.moves
        ],
        "flows": [
            {
                "from": each.source,
                "to": each.target,
                "assigned_by": each.assigned_by,
                "points": each.points,
            }
            for each in plan.flows
        ],
        "overlaps": [
            {
                "between": list(each.between),
                "area_m2": each.area_m2,
                "winner": each.winner,
                "rule": each.rule,
            }
            for each in plan.overlaps
        ],
    }


def share_shape(share: Share) -> Shape:
    whole = share.point_id is None
    return {
        "id": share.id,
        "version": share.version,
        "from": {"organization": ref_shape(share.owner)} if whole else {"point": share.point_id},
        "owner": ref_shape(share.owner),
        "to": ref_shape(share.receiver),
        "purpose": share.purpose,
        "approved_by": {"id": share.approved_by_id, "name": share.approved_by_name},
        "starts_at": timestamp(share.starts_at),
        "ends_at": timestamp(share.ends_at),
        "ptz": share.ptz,
    }


def device_shape(device: Device) -> Shape:
    """Never the password, nor settings, which may say how to get in."""
    return {
        "id": device.id,
        "version": device.version,
        "adapter": device.adapter,
        "endpoint": device.endpoint,
        "name": device.name,
        "organization": ref_shape(device.organization),
        "username": device.username,
        "status": device.status,
        "status_since": timestamp(device.status_since),
        "manufacturer": device.identity.manufacturer,
        "model": device.identity.model,
        "serial": device.identity.serial,
        "firmware": device.identity.firmware,
        "clock_offset_s": device.clock_offset_s,
        "last_error": device.last_error,
        "sources": [
            {"address": each.address, "name": each.name, "point": each.point_id}
            for each in device.sources
        ],
    }


def registration_shape(registration: Registration) -> Shape:
    return {
        "bound": [{"address": each.address, "point": each.point_id} for each in registration.bound],
        "created": [
            {"address": each.address, "point": each.point_id} for each in registration.created
        ],
        "ambiguous": [
            {"address": each.address, "points": list(each.point_ids)}
            for each in registration.ambiguous
        ],
    }


def system_shape(
    system: System, *, with_settings: bool, state: Mapping[str, Any] | None = None
) -> Shape:
    """with_settings: for who may integrate; the secrets among them are never in it. state: what its
    agent says, ``{state, reason, since, last_heard, alarms, outbox, node, clock_offset_s}``."""
    shape: Shape = {
        "id": system.id,
        "version": system.version,
        "adapter": system.adapter,
        "name": system.name,
        "organization": ref_shape(system.organization),
        "enabled": system.enabled,
        "state": state,
    }
    if with_settings:
        shape["settings"] = system.settings
    return shape


def channel_shape(channel: Channel, state: Mapping[str, Any] | None = None) -> Shape:
    """state: ``{floor, talker, talker_alias, since, emergency, health}`` as heard on the bus."""
    return {
        "id": channel.id,
        "version": channel.version,
        "system": channel.system_id,
        "address": channel.address,
        "name": channel.name,
        "organization": ref_shape(channel.organization),
        "kind": channel.kind,
        "priority": channel.priority,
        "gateway_unit_id": channel.gateway_unit_id,
        "hold_s": channel.hold_s,
        "echo_s": channel.echo_s,
        "measured_echo_s": channel.measured_echo_s,
        "air": channel.air,
        "shared": _shared_shape(channel.shared),
        "state": state
        or {
            "floor": "idle",
            "talker": None,
            "talker_alias": None,
            "since": None,
            "emergency": False,
            "health": "unknown",
        },
    }


def patch_shape(patch: Patch) -> Shape:
    return {
        "id": patch.id,
        "version": patch.version,
        "name": patch.name,
        "organization": ref_shape(patch.organization),
        "enabled": patch.enabled,
        "hang_s": patch.hang_s,
        "max_talk_s": patch.max_talk_s,
        "queue": patch.queue,
        "until": timestamp(patch.until) if patch.until else None,
        "schedule": patch.schedule,
        "voice": patch.voice,
        "members": [
            {
                "channel": each.channel_id,
                "direction": each.direction,
                "priority": each.priority,
                "muted": each.muted,
            }
            for each in patch.members
        ],
        **document_of(patch.options),
    }


def unit_shape(unit: Unit) -> Shape:
    return {
        "id": unit.id,
        "version": unit.version,
        "alias": unit.alias,
        "organization": ref_shape(unit.organization),
        "priority": unit.priority,
        "addresses": [
            {"system": each.system_id, "address": each.address} for each in unit.addresses
        ],
    }


def user_shape(user: User) -> Shape:
    roles = []
    for each in user.roles:
        role: Shape = {"role": str(each.role), "organization": ref_shape(each.organization)}
        if each.ends_at is not None:
            role |= {"purpose": each.purpose, "ends_at": timestamp(each.ends_at)}
        roles.append(role)
    return {
        "id": user.id,
        "version": user.version,
        "name": user.name,
        "roles": roles,
        "disabled": user.disabled,
    }


def token_shape(token: Token) -> Shape:
    """Never the token itself, which is shown once, to whoever makes it. roles: null for all of the
    user's."""
    roles = token.roles
    return {
        "id": token.id,
        "version": token.version,
        "name": token.name,
        "user": {"id": token.user_id, "name": token.user_name},
        "roles": None
        if roles is None
        else [{"role": str(r.role), "organization": ref_shape(r.organization)} for r in roles],
        "created_at": timestamp(token.created_at),
        "created_by": {"id": token.created_by_id, "name": token.created_by_name},
        "ends_at": timestamp(token.ends_at),
        "last_used_at": timestamp(token.last_used_at) if token.last_used_at else None,
    }


def act_shape(act: Act) -> Shape:
    """organization: its path at that time."""
    return {
        "id": act.id,
        "at": timestamp(act.at),
        "user": {"id": act.user_id, "name": act.user_name},
        "action": act.action,
        "kind": act.kind,
        "object": act.object_id,
        "organization": act.organization_path,
        "address": act.address,
        "details": act.details,
    }


def job_shape(job: Job) -> Shape:
    return {
        "id": job.id,
        "kind": job.kind,
        "state": job.state,
        "done": job.done,
        "total": job.total,
        "report": job.report,
        "created_at": timestamp(job.created_at),
        "updated_at": timestamp(job.updated_at),
    }


def required_version(request: Request) -> int | None:
    """The version in If-Match, None for ``*``. Raises: PreconditionRequired (428) without the
    header; PreconditionFailed (412) for one that no ETag of ours can match."""
    header = request.headers.get("if-match")
    if header is None:
        raise PreconditionRequired
    return _version_in(header)


def given_version(request: Request) -> int | None:
    """`required_version` where the header may be missing, which is like ``*``."""
    header = request.headers.get("if-match")
    return None if header is None else _version_in(header)


def _version_in(header: str) -> int | None:
    tag = header.strip()
    if tag == "*":
        return None
    digits = tag[1:-1] if len(tag) > 2 and tag[0] == tag[-1] == '"' else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise PreconditionFailed(f'If-Match: {tag} is no version; write it as "<version>"')
    return int(digits)


def merge_patch(target: Any, patch: Any) -> Any:
    """What target becomes under a JSON Merge Patch (RFC 7396): null removes, objects merge."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for field, value in patch.items():
        if value is None:
            merged.pop(field, None)
        else:
            merged[field] = merge_patch(merged.get(field), value)
    return merged


def wants_geo_json(request: Request) -> bool:
    """Whether Accept asks for GeoJSON."""
    return GEO_JSON in accepted(request.headers.get("accept", ""))


def accepted(header: str) -> Iterable[str]:
    """The media types of an Accept header, without their parameters."""
    return {part.partition(";")[0].strip().lower() for part in header.split(",")}
