"""Patches: queries and edits, and the rule that no channel has two keyers."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, or_, select
from sqlalchemy import delete as sql_delete

from registry import airs, organizations, patch_options, rows, schedules
from registry.errors import Conflict, Forbidden, Invalid, NotFound, Reason
from registry.identity import now, parse_id
from registry.models import CHANNELS, ORGANIZATIONS, PATCH_MEMBERS, PATCHES
from registry.organizations import OrganizationRef
from registry.owned import Owned, owner_of
from registry.paging import DEFAULT_LIMIT, AnyRow, Page
from registry.partition import (
    ADMINISTER,
    DISPATCH,
    SEE_CHANNELS,
    Principal,
    common_path,
    require,
    visible,
)
from registry.patch_options import PatchOptions

_T = PATCHES.c
_M = PATCH_MEMBERS.c
_O = ORGANIZATIONS.c
DIRECTIONS = ("both", "talk", "listen")
VOICES = ("frames", "silence", "events")
_PLAIN = ("name", "enabled", "hang_s", "max_talk_s", "queue", "until", "schedule", "voice")
_EDITABLE = frozenset({*_PLAIN, *patch_options.FIELDS, "organization", "members"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A channel in a patch. direction: ``talk`` only into the patch, ``listen`` only out of it.
    muted: a dispatcher lets it listen only, for now."""

    channel_id: str
    direction: str = "both"
    priority: int = 0
    muted: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """hang_s: how long the floor stays with the last talker. max_talk_s: the longest talk.
    queue: whether a second talker waits. until: off from then on. schedule: None is always."""

    id: str
    version: int
    name: str
    organization: OrganizationRef
    enabled: bool
    hang_s: float
    max_talk_s: float
    queue: bool
    until: datetime | None
    schedule: Mapping[str, Any] | None
    voice: str
    members: tuple[Member, ...]
    options: PatchOptions = patch_options.DEFAULTS


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewPatch:
    """organization: id or path."""

    name: str
    organization: str
    members: tuple[Member, ...] = ()
    enabled: bool = True
    hang_s: float = 2.0
    max_talk_s: float = 60.0
    queue: bool = False
    until: datetime | None = None
    schedule: Mapping[str, Any] | None = None
    voice: str = "frames"
    options: PatchOptions = patch_options.DEFAULTS


_COLUMNS: Select[Any] = select(
    _T.id,
    _T.version,
    _T.name,
    _T.organization_id,
    _O.path.label("organization_path"),
    _O.name.label("organization_name"),
    _T.enabled,
    _T.hang_s,
    _T.max_talk_s,
    _T.queue,
    _T.until,
    _T.schedule,
    _T.voice,
    _T.options,
).join_from(PATCHES, ORGANIZATIONS, _T.organization_id == _O.id)
_PATCHES = Owned(kind="patch", table=PATCHES, columns=_COLUMNS, roles=SEE_CHANNELS)


def _read_all(connection: Connection, found: Sequence[AnyRow]) -> tuple[Patch, ...]:
    members: dict[str, list[Member]] = {row.id: [] for row in found}
    wanted = (
        select(_M.patch_id, _M.channel_id, _M.direction, _M.priority, _M.muted)
        .where(_M.patch_id.in_(list(members)))
        .order_by(_M.patch_id, _M.position)
    )
    for row in connection.execute(wanted):
        members[row.patch_id].append(
            Member(
                channel_id=row.channel_id,
                direction=row.direction,
                priority=row.priority,
                muted=row.muted,
            )
        )
    return tuple(
        Patch(
            id=row.id,
            version=row.version,
            name=row.name,
            organization=owner_of(row),
            enabled=row.enabled,
            hang_s=row.hang_s,
            max_talk_s=row.max_talk_s,
            queue=row.queue,
            until=row.until,
            schedule=row.schedule,
            voice=row.voice,
            members=tuple(members[row.id]),
            options=patch_options.options_of(row.options),
        )
        for row in found
    )


def get(connection: Connection, principal: Principal, patch_id: str) -> Patch:
    """A patch with all its members, also those on channels that the principal does not see.

    Raises: NotFound where there is none, or none that the principal sees.
    """
    return _read_all(connection, [_PATCHES.row(connection, principal, patch_id)])[0]


def page(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Patch]:
    """The patches that the principal sees, in the order they were made. organization: id or path;
    those below it are included. Raises: NotFound, Invalid."""

    def read(found: Sequence[AnyRow]) -> tuple[Patch, ...]:
        return _read_all(connection, found)

    return _PATCHES.page(
        connection, principal, read, organization=organization, limit=limit, cursor=cursor
    )


def every(connection: Connection) -> tuple[Patch, ...]:
    """Every patch, enabled or not: for the bridge, not for people."""
    return _read_all(connection, connection.execute(_COLUMNS.order_by(_T.id)).all())


def running(connection: Connection) -> tuple[Patch, ...]:
    """Every patch that is enabled and not over: for the bridge, not for people. When it is on by
    its schedule is for the bridge to say."""
    on = _COLUMNS.where(_T.enabled, or_(_T.until.is_(None), _T.until > now()))
    return _read_all(connection, connection.execute(on.order_by(_T.id)).all())


def create(connection: Connection, principal: Principal, new: NewPatch) -> Patch:
    """Add a patch. Needs `dispatcher` or `admin` at its organisation and at each channel's.

    Raises: Invalid; NotFound for an organisation that is not seen; Forbidden; Conflict naming the
    patch that has one of the channels.
    """
    owner = organizations.get(connection, principal, new.organization)
    require(principal, DISPATCH, owner.path)
    values = {field: getattr(new, field) for field in _PLAIN}
    values["name"] = new.name.strip()
    _check(values, new.members, new.options)
    _check_members(connection, principal, new.members, new.members)
    airs.check_members(connection, [(m.channel_id, m.direction) for m in new.members])
    _check_one_keyer(connection, principal, values, new.members, None)
    values |= {"organization_id": owner.id, "options": patch_options.document_of(new.options)}
    patch_id = rows.insert_row(connection, PATCHES, values)
    _write_members(connection, patch_id, new.members)
    patch = get(connection, principal, patch_id)
    details = _shown(patch)
    rows.record(connection, principal, "create", "patch", patch_id, owner.path, details)
    return patch


def update(
    connection: Connection,
    principal: Principal,
    patch_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Patch:
    """Change the fields of `NewPatch` and of its options; members as a whole, a sequence of
    `Member`.

    Needs `dispatcher` or `admin` at it and at the channel of each member that is new or changed;
    for another organisation `admin` at one that contains both.
    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, patch_id)
    require(principal, DISPATCH, before.organization.path)
    rows.check_fields(changes, _EDITABLE)
    members = tuple(changes.get("members", before.members))
    values = {field: changes.get(field, getattr(before, field)) for field in _PLAIN}
    values["name"] = str(values["name"]).strip()
    given = {name: changes[name] for name in patch_options.FIELDS if name in changes}
    options = dataclasses.replace(before.options, **given)
    _check(values, members, options)
    fresh = [each for each in members if each not in before.members]
    _check_members(connection, principal, members, fresh)
    airs.check_members(connection, [(m.channel_id, m.direction) for m in members])
    _check_one_keyer(connection, principal, values, members, before.id)
    values["options"] = patch_options.document_of(options)
    if "organization" in changes:
        target = organizations.get(connection, principal, changes["organization"])
        if target.id != before.organization.id:
            require(principal, ADMINISTER, common_path(before.organization.path, target.path))
        values["organization_id"] = target.id
    rows.update_row(connection, PATCHES, "patch", before.id, values, version)
    connection.execute(sql_delete(PATCH_MEMBERS).where(_M.patch_id == before.id))
    _write_members(connection, before.id, members)
    found = connection.execute(_COLUMNS.where(_T.id == before.id)).all()
    after = _read_all(connection, found)[0]
    changed = rows.difference(_shown(before), _shown(after))
    path = before.organization.path
    rows.record(connection, principal, "update", "patch", before.id, path, changed)
    return after


def mute(
    connection: Connection, principal: Principal, patch_id: str, channel_id: str, *, muted: bool
) -> Patch:
    """Let a member listen only, or be heard again. Needs what `update` needs.

    Raises: NotFound, also for a channel that is no member; Forbidden.
    """
    before = get(connection, principal, patch_id)
    member = _member_of(before, channel_id)
    changed = dataclasses.replace(member, muted=muted)
    members = [changed if each == member else each for each in before.members]
    return update(connection, principal, before.id, {"members": members})


def move(
    connection: Connection, principal: Principal, patch_id: str, channel_id: str, to: str
) -> tuple[Patch, Patch]:
    """Take a member out of one patch and put it at the end of another, which is never keyed by
    both; the two as they are then. to: id of the other patch. Needs what `update` needs.

    Raises: NotFound, Forbidden, Invalid, Conflict.
    """
    before, target = get(connection, principal, patch_id), get(connection, principal, to)
    member = _member_of(before, channel_id)
    if before.id == target.id:
        raise Invalid.at("move_to", "is the patch that it is in")
    rest = [each for each in before.members if each != member]
    left = update(connection, principal, before.id, {"members": rest})
    joined = [*target.members, dataclasses.replace(member, muted=False)]
    return left, update(connection, principal, target.id, {"members": joined})


def _member_of(patch: Patch, channel_id: str) -> Member:
    for member in patch.members:
        if member.channel_id == channel_id:
            return member
    raise NotFound("member", channel_id)


def note(
    connection: Connection,
    principal: Principal,
    patch: Patch,
    action: str,
    details: Mapping[str, Any],
) -> None:
    """Write down what a dispatcher does to a running patch. Needs `dispatcher` or `admin` at it.
    Raises: Forbidden."""
    path = patch.organization.path
    require(principal, DISPATCH, path)
    rows.record(connection, principal, action, "patch", patch.id, path, details)


def delete(
    connection: Connection, principal: Principal, patch_id: str, version: int | None = None
) -> None:
    """Remove a patch. Needs `dispatcher` or `admin`. Raises: NotFound, Forbidden,
    VersionMismatch."""
    before = get(connection, principal, patch_id)
    require(principal, DISPATCH, before.organization.path)
    rows.delete_row(connection, PATCHES, "patch", before.id, version)
    path = before.organization.path
    rows.record(connection, principal, "delete", "patch", before.id, path, _shown(before))


def _write_members(connection: Connection, patch_id: str, members: Sequence[Member]) -> None:
    if members:
        connection.execute(
            insert(PATCH_MEMBERS),
            [
                {**dataclasses.asdict(member), "patch_id": patch_id, "position": position}
                for position, member in enumerate(members)
            ],
        )


def _shown(patch: Patch) -> dict[str, Any]:
    shown = {field: getattr(patch, field) for field in _PLAIN}
    shown["until"] = patch.until.isoformat() if patch.until else None
    shown["organization"] = patch.organization.path
    shown["members"] = [dataclasses.asdict(member) for member in patch.members]
    return shown | patch_options.document_of(patch.options)


def _check(values: Mapping[str, Any], members: Sequence[Member], options: PatchOptions) -> None:
    reasons = patch_options.faults(options)
    if values["schedule"] is not None:
        try:
            schedules.parse(values["schedule"])
        except schedules.InvalidSchedule as error:
            reasons.append(Reason(field=f"schedule.{error.field}", reason=str(error)))
    if not 1 <= len(values["name"]) <= 200:
        reasons.append(Reason(field="name", reason="must have 1 to 200 characters"))
    if not 0 <= values["hang_s"] <= 60:
        reasons.append(Reason(field="hang_s", reason="must be 0 to 60 seconds"))
    if not 1 <= values["max_talk_s"] <= 3600:
        reasons.append(Reason(field="max_talk_s", reason="must be 1 to 3600 seconds"))
    if values["voice"] not in VOICES:
        reasons.append(Reason(field="voice", reason=f"must be one of {', '.join(VOICES)}"))
    seen: set[str] = set()
    for index, member in enumerate(members):
        place = f"members[{index}]"
        if member.direction not in DIRECTIONS:
            reasons.append(
                Reason(field=f"{place}.direction", reason=f"must be one of {', '.join(DIRECTIONS)}")
            )
        if not 0 <= member.priority <= 255:
            reasons.append(Reason(field=f"{place}.priority", reason="must be 0 to 255"))
        if member.channel_id in seen:
            reasons.append(Reason(field=f"{place}.channel", reason="is in the patch already"))
        seen.add(member.channel_id)
    if reasons:
        raise Invalid(*reasons)


def _check_members(
    connection: Connection,
    principal: Principal,
    members: Sequence[Member],
    fresh: Sequence[Member],
) -> None:
    """Raises: Invalid naming each fresh member whose channel is not seen; Forbidden for one that
    the principal may not speak for."""
    if not fresh:
        return
    wanted = [each.channel_id for each in fresh if parse_id(each.channel_id) == each.channel_id]
    paths = {
        row.id: row.path
        for row in connection.execute(
            select(CHANNELS.c.id, _O.path)
            .join_from(CHANNELS, ORGANIZATIONS, CHANNELS.c.organization_id == _O.id)
            .where(
                CHANNELS.c.id.in_(wanted),
                visible(CHANNELS.c.organization_id, principal, SEE_CHANNELS),
            )
            .order_by(CHANNELS.c.id)
            # Two patches that take the same channel at the same moment wait for each other here.
            .with_for_update(of=CHANNELS)
        )
    }
    unknown = [
        Reason(
            field=f"members[{members.index(each)}].channel",
            reason=f"there is no channel {each.channel_id!r}",
        )
        for each in fresh
        if each.channel_id not in paths
    ]
    if unknown:
        raise Invalid(*unknown)
    refused = sorted(path for path in paths.values() if not principal.may(DISPATCH, path))
    if refused:
        raise Forbidden(
            f"this needs the role admin or dispatcher at {refused[0]}, which has the channel"
        )


def _check_one_keyer(
    connection: Connection,
    principal: Principal,
    values: Mapping[str, Any],
    members: Sequence[Member],
    but_id: str | None,
) -> None:
    """Raises: Conflict where a channel would be keyed by a patch and be in another one that may
    be enabled at the same time. Only ``talk`` members may be in several."""
    if not values["enabled"]:
        return
    keyed = [each.channel_id for each in members if each.direction in airs.KEYED]
    heard = [each.channel_id for each in members if each.direction == "talk"]
    others = connection.execute(
        select(_T.id, _T.until, _T.schedule, _M.channel_id)
        .join_from(PATCH_MEMBERS, PATCHES, _M.patch_id == _T.id)
        .where(
            _T.enabled,
            or_(_T.until.is_(None), _T.until > now()),
            or_(
                _M.channel_id.in_(keyed),
                _M.channel_id.in_(heard) & _M.direction.in_(airs.KEYED),
            ),
            *([_T.id != but_id] if but_id else []),
        )
        .order_by(_T.id)
    )
    other = next((each for each in others if _at_once(values, each)), None)
    if other is None:
        return
    name = connection.scalar(select(CHANNELS.c.name).where(CHANNELS.c.id == other.channel_id))
    seen = connection.scalar(
        select(_T.name).where(
            _T.id == other.id, visible(_T.organization_id, principal, SEE_CHANNELS)
        )
    )
    where = f"the patch {seen}" if seen else "another patch"
    raise Conflict(
        f"the channel {name} is in {where} already, and a channel that is keyed can be in one only",
        other=other.id if seen else "",
    )


def _at_once(values: Mapping[str, Any], other: AnyRow) -> bool:
    """Are two patches ever on at the same time?"""
    ends = [until for until in (values["until"], other.until) if until is not None]
    one, another = (
        schedules.parse(document) if document is not None else None
        for document in (values["schedule"], other.schedule)
    )
    return schedules.overlap(one, another, since=now(), until=min(ends, default=None))
