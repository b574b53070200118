"""Response levels: named plans of an organisation, applied at once and taken back again.

A plan sets some fields of patches, priorities of channels and units, and which tours are on duty
and how fast they go, of the organisation and those below it. Applying one level takes back what the
level before it had set and it does not set itself, so that lowering restores what was there; what
somebody changed by hand meanwhile stays as they left it.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, Table, delete, insert, select

from registry import organizations, patches, rows, tours
from registry.errors import Conflict, Invalid, Reason
from registry.identity import now, parse_id
from registry.models import (
    APPLIED_LEVELS,
    CHANNELS,
    LEVELS,
    ORGANIZATIONS,
    PATCHES,
    TOURS,
    UNITS,
)
from registry.organizations import OrganizationRef
from registry.owned import Owned, owner_of
from registry.paging import DEFAULT_LIMIT, AnyRow, Page
from registry.partition import (
    DISPATCH,
    SEE_CHANNELS,
    Principal,
    contains,
    require,
)

_L = LEVELS.c
_A = APPLIED_LEVELS.c
_O = ORGANIZATIONS.c
_TABLES: Mapping[str, Table] = {
    "patch": PATCHES,
    "channel": CHANNELS,
    "unit": UNITS,
    "tour": TOURS,
}
_SETTABLE: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "patch": {"enabled": bool, "queue": bool, "hang_s": (int, float), "max_talk_s": (int, float)},
    "channel": {"priority": int},
    "unit": {"priority": int},
    "tour": {"on_duty": bool, "dwell_s": int},
}
_RANGES = {
    "priority": (0, 254),
    "hang_s": (0, 60),
    "max_talk_s": (1, 3600),
    "dwell_s": tours.DWELL_S,
}
MOST_STEPS = 1000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One value that a plan sets. kind: ``patch``, ``channel``, ``unit``, ``tour``; id: of the
    object."""

    kind: str
    id: str
    field: str
    value: Any


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """When a level was put in force, and by whom."""

    at: datetime
    by_id: str
    by_name: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """rank: 0 is the calmest. applied: None where it is not in force."""

    id: str
    version: int
    name: str
    organization: OrganizationRef
    rank: int
    plan: tuple[Step, ...]
    applied: Applied | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewLevel:
    """organization: id or path."""

    name: str
    organization: str
    rank: int = 0
    plan: tuple[Step, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What applying or restoring did. skipped: steps whose object is gone, or that somebody
    changed by hand since."""

    level: Level | None
    done: tuple[Step, ...]
    skipped: tuple[Step, ...]


_COLUMNS: Select[Any] = (
    select(
        _L.id,
        _L.version,
        _L.name,
        _L.organization_id,
        _O.path.label("organization_path"),
        _O.name.label("organization_name"),
        _L.rank,
        _L.plan,
        _A.applied_at,
        _A.applied_by_id,
        _A.applied_by_name,
    )
    .join_from(LEVELS, ORGANIZATIONS, _L.organization_id == _O.id)
    .outerjoin(APPLIED_LEVELS, _A.level_id == _L.id)
)
_LEVELS = Owned(kind="level", table=LEVELS, columns=_COLUMNS, roles=SEE_CHANNELS)


def _read(row: AnyRow) -> Level:
    applied = None
    if row.applied_at is not None:
        applied = Applied(at=row.applied_at, by_id=row.applied_by_id, by_name=row.applied_by_name)
    return Level(
        id=row.id,
        version=row.version,
        name=row.name,
        organization=owner_of(row),
        rank=row.rank,
        plan=tuple(_steps(row.plan["steps"])),
        applied=applied,
    )


def _steps(stored: Iterable[Sequence[Any]]) -> list[Step]:
    return [Step(kind=kind, id=id_, field=field, value=value) for kind, id_, field, value in stored]


def _stored(steps: Iterable[Step]) -> list[list[Any]]:
    return [[step.kind, step.id, step.field, step.value] for step in steps]


def get(connection: Connection, principal: Principal, level_id: str) -> Level:
    """Raises: NotFound where there is none, or none that the principal sees."""
    return _read(_LEVELS.row(connection, principal, level_id))


def page(
    connection: Connection,
    principal: Principal,
    *,
    organization: str | None = None,
    limit: int = DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Level]:
    """The levels that the principal sees. organization: id or path; those below it are included.
    Raises: NotFound, Invalid."""

    def read(found: Sequence[AnyRow]) -> tuple[Level, ...]:
        return tuple(_read(row) for row in found)

    return _LEVELS.page(
        connection, principal, read, organization=organization, limit=limit, cursor=cursor
    )


def create(connection: Connection, principal: Principal, new: NewLevel) -> Level:
    """Add a plan. Needs `dispatcher` or `admin` at its organisation, which has all that the plan
    sets, or stands above it. Raises: Invalid, NotFound, Forbidden, Conflict."""
    owner = organizations.get(connection, principal, new.organization)
    require(principal, DISPATCH, owner.path)
    values = {"name": new.name.strip(), "rank": new.rank}
    _check(connection, values, new.plan, owner.path)
    plan = {"steps": _stored(new.plan)}
    level_id = rows.insert_row(
        connection, LEVELS, {**values, "organization_id": owner.id, "plan": plan}
    )
    shown = {**values, **plan}
    rows.record(connection, principal, "create", "level", level_id, owner.path, shown)
    return get(connection, principal, level_id)


def update(
    connection: Connection,
    principal: Principal,
    level_id: str,
    changes: Mapping[str, Any],
    version: int | None = None,
) -> Level:
    """Change name, rank or plan (a sequence of `Step`). One in force goes on as it was applied.

    Raises: NotFound, Forbidden, Invalid, Conflict, VersionMismatch.
    """
    before = get(connection, principal, level_id)
    path = before.organization.path
    require(principal, DISPATCH, path)
    rows.check_fields(changes, frozenset({"name", "rank", "plan"}))
    plan = tuple(changes.get("plan", before.plan))
    values: dict[str, Any] = {
        "name": str(changes.get("name", before.name)).strip(),
        "rank": changes.get("rank", before.rank),
    }
    _check(connection, values, plan, path)
    values["plan"] = {"steps": _stored(plan)}
    rows.update_row(connection, LEVELS, "level", before.id, values, version)
    old = {"name": before.name, "rank": before.rank, "plan": {"steps": _stored(before.plan)}}
    changed = rows.difference(old, values)
    rows.record(connection, principal, "update", "level", before.id, path, changed)
    return get(connection, principal, level_id)


def delete_level(
    connection: Connection, principal: Principal, level_id: str, version: int | None = None
) -> None:
    """Remove a plan that is not in force. Raises: NotFound, Forbidden, Conflict,
    VersionMismatch."""
    before = get(connection, principal, level_id)
    require(principal, DISPATCH, before.organization.path)
    if before.applied is not None:
        raise Conflict(f"the level {before.name} is in force: restore first")
    rows.delete_row(connection, LEVELS, "level", before.id, version)
    path = before.organization.path
    rows.record(connection, principal, "delete", "level", before.id, path, {"name": before.name})


def apply(connection: Connection, principal: Principal, level_id: str) -> Change:
    """Put a level in force at once: the plan is carried out, and what else the level before it had
    set is taken back; all of it or, where a channel would have two keyers, nothing. What nobody
    asks for, the calm between two levels, need not be possible.

    Needs `dispatcher` or `admin` at its organisation. Raises: NotFound, Forbidden, Conflict.
    """
    level = get(connection, principal, level_id)
    owner = level.organization
    require(principal, DISPATCH, owner.path)
    connection.execute(select(_O.id).where(_O.id == owner.id).with_for_update())
    lower, _ = _to_take_back(connection, owner)
    under = {_key(step): step for step in lower}
    planned = {_key(step) for step in level.plan}
    rest = [step for step in lower if _key(step) not in planned]
    carried, left_out, was = _carry_out(connection, principal, [*rest, *level.plan])
    done = [step for step in carried if _key(step) in planned]
    skipped = [step for step in left_out if _key(step) in planned]
    before = [under.get(_key(step), step) for step in was if _key(step) in planned]
    connection.execute(
        insert(APPLIED_LEVELS).values(
            organization_id=owner.id,
            level_id=level.id,
            applied_at=now(),
            applied_by_id=principal.user_id,
            applied_by_name=principal.name,
            before=_stored(before),
            after=_stored(done),
        )
    )
    details = {"name": level.name, "done": _stored(done), "skipped": _stored(skipped)}
    rows.record(connection, principal, "apply", "level", level.id, owner.path, details)
    after = get(connection, principal, level_id)
    return Change(level=after, done=tuple(done), skipped=tuple(skipped))


def restore(connection: Connection, principal: Principal, level_id: str) -> Change:
    """Take back what a level in force has set. Raises: NotFound, Forbidden; Conflict where it is
    not in force, or where what was there before cannot be any more."""
    level = get(connection, principal, level_id)
    owner = level.organization
    require(principal, DISPATCH, owner.path)
    if level.applied is None:
        raise Conflict(f"the level {level.name} is not in force")
    done, skipped = _take_back(connection, principal, owner)
    details = {"name": level.name, "done": _stored(done), "skipped": _stored(skipped)}
    rows.record(connection, principal, "restore", "level", level.id, owner.path, details)
    return Change(
        level=get(connection, principal, level_id), done=tuple(done), skipped=tuple(skipped)
    )


def _key(step: Step) -> tuple[str, str, str]:
    return step.kind, step.id, step.field


def _take_back(
    connection: Connection, principal: Principal, owner: OrganizationRef
) -> tuple[list[Step], list[Step]]:
    mine, others = _to_take_back(connection, owner)
    done, skipped, _ = _carry_out(connection, principal, mine)
    return done, [*others, *skipped]


def _to_take_back(connection: Connection, owner: OrganizationRef) -> tuple[list[Step], list[Step]]:
    """What was there before the level in force, which is in force no longer; and what of it
    somebody has changed by hand since."""
    row = connection.execute(
        select(_A.before, _A.after).where(_A.organization_id == owner.id)
    ).one_or_none()
    if row is None:
        return [], []
    connection.execute(delete(APPLIED_LEVELS).where(_A.organization_id == owner.id))
    was = _steps(row.before)
    mine: list[Step] = []
    others: list[Step] = []
    for before, after in zip(was, _steps(row.after), strict=True):
        current = _current(connection, after)
        (mine if current is not None and current == after.value else others).append(before)
    return mine, others


def _carry_out(
    connection: Connection, principal: Principal, steps: Iterable[Step]
) -> tuple[list[Step], list[Step], list[Step]]:
    """What was set, what was not because its object is gone, and what was there before. Patches
    are switched off before others are switched on."""
    done: list[Step] = []
    skipped: list[Step] = []
    before: list[Step] = []
    for step in sorted(steps, key=lambda s: s.field == "enabled" and s.value is True):
        current = _current(connection, step)
        if current is None:
            skipped.append(step)
            continue
        before.append(dataclasses.replace(step, value=current))
        done.append(step)
        if current != step.value:
            _set(connection, principal, step, current)
    return done, skipped, before


def _current(connection: Connection, step: Step) -> Any:
    """The value now, None where the object is gone."""
    table = _TABLES[step.kind]
    return connection.scalar(select(table.c[step.field]).where(table.c.id == step.id))


def _set(connection: Connection, principal: Principal, step: Step, current: Any) -> None:
    if step.kind == "patch":
        patches.update(connection, principal, step.id, {step.field: step.value})
        return
    table = _TABLES[step.kind]
    rows.update_row(connection, table, step.kind, step.id, {step.field: step.value}, None)
    path = _paths(connection, step.kind, [step.id])[step.id]
    changed = {step.field: [current, step.value]}
    rows.record(connection, principal, "update", step.kind, step.id, path, changed)


def _paths(connection: Connection, kind: str, ids: Iterable[str]) -> dict[str, str]:
    table = _TABLES[kind]
    found = connection.execute(
        select(table.c.id, _O.path)
        .join_from(table, ORGANIZATIONS, table.c.organization_id == _O.id)
        .where(table.c.id.in_(sorted(set(ids))))
    )
    return {row.id: row.path for row in found}


def _check(
    connection: Connection, values: Mapping[str, Any], plan: Sequence[Step], path: str
) -> None:
    reasons = []
    if not 1 <= len(values["name"]) <= 200:
        reasons.append(Reason(field="name", reason="must have 1 to 200 characters"))
    if not 0 <= values["rank"] <= 100:
        reasons.append(Reason(field="rank", reason="must be 0 to 100"))
    if len(plan) > MOST_STEPS:
        raise Invalid.at("plan", f"must have {MOST_STEPS} steps at most")
    seen: set[tuple[str, str, str]] = set()
    known = {
        kind: _paths(connection, kind, [s.id for s in plan if s.kind == kind and _is_id(s.id)])
        for kind in _TABLES
    }
    for index, step in enumerate(plan):
        place = f"plan[{index}]"
        reason = _fault(step, known)
        if reason is None and not contains(path, known[step.kind][step.id]):
            reason = f"the {step.kind} is not of this organisation"
        key = (step.kind, step.id, step.field)
        if reason is None and key in seen:
            reason = "is set already"
        seen.add(key)
        if reason is not None:
            reasons.append(Reason(field=place, reason=reason))
    if reasons:
        raise Invalid(*reasons)


def _is_id(text: str) -> bool:
    return parse_id(text) == text


def _fault(step: Step, known: Mapping[str, Mapping[str, str]]) -> str | None:
    kinds = _SETTABLE.get(step.kind)
    if kinds is None or step.field not in kinds:
        return f"a plan cannot set {step.field} of a {step.kind}"
    wanted = kinds[step.field]
    value: Any = step.value
    is_bool = isinstance(value, bool)
    if not isinstance(value, wanted) or (wanted is not bool and is_bool):
        return f"{value!r} is no {step.field}"
    least, most = _RANGES.get(step.field, (0, 1))
    if not least <= float(step.value) <= most:
        return f"{step.field} must be {least} to {most}"
    if step.id not in known[step.kind]:
        return f"there is no {step.kind} {step.id!r}"
    return None
