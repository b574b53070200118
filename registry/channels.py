"""Channels of radio and PTT systems: queries and edits."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select

from registry import airs, organizations, rows
from registry.errors import Conflict, Invalid, NotFound, Reason
from registry.models import CHANNELS, ORGANIZATIONS, PATCH_MEMBERS, PATCHES, SYSTEMS
from registry.organizations import OrganizationRef
from registry.owned import owner_of
from registry.paging import DEFAULT_LIMIT, AnyRow, Page, read_page
from registry.partition import (
    ADMINISTER,
    INTEGRATE,
    SEE_CHANNELS,
    Principal,
    common_path,
    contains,
    given_shares,
    owned_within,
    require,
    visible,
    visible_channels,
)
from registry.search import matching

_C = CHANNELS.c
_O = ORGANIZATIONS.c
KINDS = ("trunk", "ptt")
_SETTINGS = ("name", "priority", "gateway_unit_id", "hold_s", "echo_s", "measured_echo_s", "air")
_EDITABLE = frozenset({*_SETTINGS, "organization"})
ECHO_S = (0.2, 30.0)
"""The least and the most that a measured echo counts for."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """The share of a subtree by which the reader sees a channel, no role of theirs doing so; of
    several the one that lasts longest."""

    share_id: str
    ends_at: datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """address: the system's own word for it. kind: ``trunk`` or ``ptt``. priority: 0..255, of its
    talk. gateway_unit_id: who we are when we key it. hold_s, echo_s: None for the adapter's.
    measured_echo_s: after what time a test key came back last, None where none did. air: which
    talkgroup of which network it is, such as ``{wacn}.{system id}/{talkgroup}``."""

    id: str
    version: int
    system_id: str
    system_name: str
    address: str
    name: str
    organization: OrganizationRef
    kind: str
    priority: int
    gateway_unit_id: str
    hold_s: float | None
    echo_s: float | None
    measured_echo_s: float | None = None
    air: str = ""
    shared: Shared | None = None

    @property
    def echo_in_use_s(self) -> float | None:
        """How late our own key may come back: as a person said, else as it was measured and a
        quarter and 0.1 s more, since no two are alike; None for the adapter's."""
        if self.echo_s is not None or self.measured_echo_s is None:
            return self.echo_s
        least_s, most_s = ECHO_S
        return min(max(self.measured_echo_s * 1.25 + 0.1, least_s), most_s)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewChannel:
    """system: id. organization: id or path, None for the system's."""

    system: str
    address: str
    name: str
    kind: str
    organization: str | None = None
    priority: int = 0
    gateway_unit_id: str = ""
    hold_s: float | None = None
    echo_s: float | None = None
    air: str = ""


_COLUMNS: Select[Any] = (
    select(
        _C.id,
        _C.version,
        _C.system_id,
        SYSTEMS.c.name.label("system_name"),
        _C.address,
        _C.name,
        _C.organization_id,
        _O.path.label("organization_path"),
        _O.name.label("organization_name"),
        _C.kind,
        _C.priority,
        _C.gateway_unit_id,
        _C.hold_s,
        _C.echo_s,
        _C.measured_echo_s,
        _C.air,
    )
    .join_from(CHANNELS, ORGANIZATIONS, _C.organization_id == _O.id)
    .join(SYSTEMS, _C.system_id == SYSTEMS.c.id)
)


def _read(row: AnyRow) -> Channel:
    return Channel(
        id=row.id,
        version=row.version,
        system_id=row.system_id,
        system_name=row.system_name,
        address=row.address,
        name=row.name,
        organization=owner_of(row),
        kind=row.kind,
        priority=row.priority,
        gateway_unit_id=row.gateway_unit_id,
        hold_s=row.hold_s,
        echo_s=row.echo_s,
        measured_echo_s=row.measured_echo_s,
        air=row.air,
    )


def _read_all(found: Sequence[AnyRow]) -> tuple[Channel, ...]:
    return tuple(_read(row) for row in found)


def get(connection: Connection, principal: Principal, channel_id: str) -> Channel:
    """Raises: NotFound where there is none, or none that the principal sees."""
    row = connection.execute(
        _COLUMNS.where(
            _C.id == rows.known_id("channel", channel_id),
            visible_channels(principal),
        )
    ).one_or_none()
    if row is None:
        raise NotFound("channel", channel_id)
    return _with_shares(connection, principal, (_read(row),))[0]


def _with_shares(
    connection: Connection, principal: Principal, found: tuple[Channel, ...]
) -> tuple[Channel, ...]:
    """Channels as the principal sees them: with the share where it is one that shows them."""
    foreign = {c.organization.path for c in found} - {
        c.organization.path for c in found if principal.may(SEE_CHANNELS, c.organization.path)
    }
    if not foreign:
        return found
    given = given_shares(principal)
    shares = connection.execute(
        select(given.c.id, given.c.owner_path, given.c.ends_at)
        .where(given.c.point_id.is_(None))
        .order_by(given.c.ends_at.desc(), given.c.id)
    ).all()

    def shown(channel: Channel) -> Channel:
        path = channel.organization.path
        for each in shares if path in foreign else ():
            if contains(each.owner_path, path):
                shared = Shared(share_id=each.id, ends_at=each.ends_at)
                return dataclasses.replace(channel, shared=shared)
        return channel

    return tuple(shown(each) for each in found)


def page(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    system: str | None = None,
    kind: str | None = None,
    q: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Channel]:
    """The channels that the principal sees, in the order they were made. organization: id or
    path; those below it are included. system: id. Raises: NotFound, Invalid."""
    conditions = [visible_channels(principal)]
    if organization is not None:
        below = organizations.get_shown(connection, principal, organization, SEE_CHANNELS)
        conditions.append(owned_within(_C.organization_id, below.path))
    if system is not None:
        conditions.append(_C.system_id == rows.known_id("system", system))
    if kind is not None:
        if kind not in KINDS:
            raise Invalid.at("kind", "must be trunk or ptt")
        conditions.append(_C.kind == kind)
    if q is not None:
        conditions.append(matching(q, (_C.name, _C.address)))

    def read(found: Sequence[AnyRow]) -> tuple[Channel, ...]:
        return _with_shares(connection, principal, _read_all(found))

    return read_page(connection, CHANNELS, _COLUMNS, conditions, read, limit=limit, cursor=cursor)


def every(connection: Connection, system_id: str | None = None) -> tuple[Channel, ...]:
    """Every channel, or every one of a system: for agents and bridge, not for people."""
    wanted = _COLUMNS.order_by(_C.id)
    if system_id is not None:
        wanted = wanted.where(_C.system_id == system_id)
    return _read_all(connection.execute(wanted).all())


def create(connection: Connection, principal: Principal, new: NewChannel) -> Channel:
    """Add a channel. Needs `integrator` or `admin` at its organisation, and to see its system.

    Raises: Invalid; NotFound for a system or organisation that is not seen; Forbidden; Conflict.
    """
    system = connection.execute(
        select(SYSTEMS.c.id, SYSTEMS.c.organization_id).where(
            SYSTEMS.c.id == rows.known_id("system", new.system),
            visible(SYSTEMS.c.organization_id, principal, SEE_CHANNELS),
        )
    ).one_or_none()
    if system is None:
        raise NotFound("system", new.system)
    owner = organizations.get(connection, principal, new.organization or system.organization_id)
    require(principal, INTEGRATE, owner.path)
    values: dict[str, Any] = {
        "address": new.address.strip(),
        "name": new.name.strip() or new.address.strip(),
        "kind": new.kind,
        "priority": new.priority,
        "gateway_unit_id": new.gateway_unit_id,
        "hold_s": new.hold_s,
        "echo_s": new.echo_s,
        "measured_echo_s": None,
        "air": new.air.strip().lower(),
    }
    _check(values)
    holder = connection.scalar(
        select(_C.id).where(_C.system_id == system.id, _C.address == values["address"])
    )
    if holder is not None:
        seen = visible(_C.organization_id, principal, SEE_CHANNELS)
        shown = connection.scalar(select(_C.id).where(_C.id == holder, seen))
        raise Conflict(f"the system has a channel {new.address} already", other=shown or "")
    values |= {"system_id": system.id, "organization_id": owner.id}
    channel_id = rows.insert_row(connection, CHANNELS, values)
    rows.record(connection, principal, "create", "channel", channel_id, owner.path, values)
    return get(connection, principal, channel_id)


def update(
    connection: Connection,
    principal: Principal,
    channel_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Channel:
    """Change name, organization (id or path), priority, gateway_unit_id, hold_s, echo_s,
    measured_echo_s (None, to forget it) or air.

    Needs `integrator` or `admin`; for another organisation `admin` at one that contains both.
    Raises: NotFound, Forbidden, Invalid, VersionMismatch; Conflict for an air that another member
    of a patch keys.
    """
    before = get(connection, principal, channel_id)
    require(principal, INTEGRATE, before.organization.path)
    rows.check_fields(changes, _EDITABLE)
    old = dataclasses.asdict(before)
    values = {field: value for field, value in changes.items() if field != "organization"}
    if "air" in values:
        values["air"] = str(values["air"]).strip().lower()
    if values.get("measured_echo_s") is not None:
        raise Invalid.at("measured_echo_s", "a test measures it: set echo_s, or null to forget it")
    _check({**old, **values})
    if "organization" in changes:
        target = organizations.get(connection, principal, changes["organization"])
        if target.id != before.organization.id:
            require(principal, ADMINISTER, common_path(before.organization.path, target.path))
        values["organization_id"] = target.id
    rows.update_row(connection, CHANNELS, "channel", before.id, values, version)
    if values.get("air", before.air) != before.air:
        airs.check_channel(connection, before.id)
    changed = rows.difference({**old, "organization_id": before.organization.id}, values)
    path = before.organization.path
    rows.record(connection, principal, "update", "channel", before.id, path, changed)
    return _read(connection.execute(_COLUMNS.where(_C.id == before.id)).one())


def delete(
    connection: Connection, principal: Principal, channel_id: str, version: int | None = None
) -> None:
    """Remove a channel that is in no patch. Needs `integrator` or `admin`.

    Raises: NotFound, Forbidden, VersionMismatch; Conflict naming the patches.
    """
    before = get(connection, principal, channel_id)
    require(principal, INTEGRATE, before.organization.path)
    patches = connection.scalars(
        select(PATCHES.c.name)
        .join_from(PATCHES, PATCH_MEMBERS, PATCH_MEMBERS.c.patch_id == PATCHES.c.id)
        .where(PATCH_MEMBERS.c.channel_id == before.id)
        .order_by(PATCHES.c.id)
    ).all()
    if patches:
        raise Conflict(
            f"the channel {before.name} is in {len(patches)} patches: take it out first",
            others=tuple(patches),
        )
    rows.delete_row(connection, CHANNELS, "channel", before.id, version)
    path = before.organization.path
    details = {"system_id": before.system_id, "address": before.address, "name": before.name}
    rows.record(connection, principal, "delete", "channel", before.id, path, details)


def _check(values: Mapping[str, Any]) -> None:
    reasons = [
        Reason(field=field, reason="must have 1 to 200 characters")
        for field in ("address", "name")
        if not 1 <= len(values[field]) <= 200
    ]
    if values["kind"] not in KINDS:
        reasons.append(Reason(field="kind", reason="must be trunk or ptt"))
    if not 0 <= values["priority"] <= 255:
        reasons.append(Reason(field="priority", reason="must be 0 to 255"))
    if len(values["gateway_unit_id"]) > 64:
        reasons.append(Reason(field="gateway_unit_id", reason="must have at most 64 characters"))
    if len(values["air"]) > 64:
        reasons.append(Reason(field="air", reason="must have at most 64 characters"))
    for field in ("hold_s", "echo_s"):
        seconds = values[field]
        if seconds is not None and not 0 <= seconds <= 600:
            reasons.append(Reason(field=field, reason="must be 0 to 600 seconds"))
    if reasons:
        raise Invalid(*reasons)


def note(connection: Connection, principal: Principal, channel: Channel, action: str) -> None:
    """Write down what a dispatcher does on a channel."""
    path = channel.organization.path
    rows.record(connection, principal, action, "channel", channel.id, path, {})


def note_echoes(
    connection: Connection, principal: Principal, measured: Mapping[str, float]
) -> tuple[str, ...]:
    """Keep after how many seconds the keys of a test came back, by the ids of channels; those that
    are kept anew. The caller has made sure that the principal may test these channels."""
    wanted = _COLUMNS.where(_C.id.in_(sorted(measured))).order_by(_C.id)
    noted = []
    for channel in _read_all(connection.execute(wanted).all()):
        heard_s = round(min(measured[channel.id], ECHO_S[1]), 3)
        if heard_s == channel.measured_echo_s:
            continue
        values = {"measured_echo_s": heard_s}
        rows.update_row(connection, CHANNELS, "channel", channel.id, values, None)
        changed = {"measured_echo_s": [channel.measured_echo_s, heard_s]}
        path = channel.organization.path
        rows.record(connection, principal, "measure", "channel", channel.id, path, changed)
        noted.append(channel.id)
    return tuple(noted)
