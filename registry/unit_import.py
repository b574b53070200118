"""Units from a file, all of it or nothing, or its good rows.

A row means the unit of its id, else the one that has any of its addresses, else a new one. Of a
unit that is there the file changes what it says: an empty cell leaves what was, and so does a
system without a column. Nobody is moved to another organisation.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from registry import organizations, rows
from registry.identity import new_id, now
from registry.models import CHANGES, ORGANIZATIONS, SYSTEMS, UNIT_ADDRESSES, UNITS
from registry.partition import INTEGRATE, SEE_CHANNELS, Principal, require, visible
from registry.unit_file import Refusal, UnitFile, UnitRow

_A = UNIT_ADDRESSES.c
_U = UNITS.c
_O = ORGANIZATIONS.c
_AT_ONCE = 5000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitReport:
    """applied: whether anything was written, or could be. refused: rows, not reasons."""

    applied: bool
    rows: int
    created: int
    updated: int
    unchanged: int
    refused: int
    refusals: tuple[Refusal, ...]
    ignored_columns: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Known:
    """A unit as it is."""

    id: str
    alias: str
    priority: int
    path: str
    addresses: Mapping[str, tuple[str, ...]]


@dataclasses.dataclass(slots=True)
class _Plan:
    create: list[tuple[UnitRow, str]] = dataclasses.field(default_factory=list)
    update: list[tuple[UnitRow, _Known]] = dataclasses.field(default_factory=list)
    unchanged: int = 0
    refusals: list[Refusal] = dataclasses.field(default_factory=list)


def systems_seen(connection: Connection, principal: Principal) -> tuple[tuple[str, str], ...]:
    """Ids and names of the systems whose columns a file of the principal's may have."""
    wanted = select(SYSTEMS.c.id, SYSTEMS.c.name).where(
        visible(SYSTEMS.c.organization_id, principal, SEE_CHANNELS)
    )
    return tuple((row.id, row.name) for row in connection.execute(wanted.order_by(SYSTEMS.c.id)))


def import_units(
    connection: Connection,
    principal: Principal,
    file: UnitFile,
    organization: str,
    *,
    dry_run: bool = False,
    partial: bool = False,
) -> UnitReport:
    """Write what a file says, in the transaction of connection. organization: id or path, where
    units are made that name none. Needs `integrator` or `admin` there.

    Raises: NotFound, Forbidden.
    """
    home = organizations.get(connection, principal, organization)
    require(principal, INTEGRATE, home.path)
    plan = _Planner(connection, principal, home, file.rows).plan()
    refusals = sorted((*file.refusals, *plan.refusals), key=lambda each: each.row)
    applied = not dry_run and (partial or not refusals)
    if applied:
        _create(connection, principal, plan.create)
        for row, known in plan.update:
            _update(connection, principal, row, known)
    return UnitReport(
        applied=applied,
        rows=file.count,
        created=len(plan.create),
        updated=len(plan.update),
        unchanged=plan.unchanged,
        refused=len({each.row for each in refusals}),
        refusals=tuple(refusals),
        ignored_columns=file.ignored_columns,
    )


class _Planner:
    def __init__(
        self,
        connection: Connection,
        principal: Principal,
        home: organizations.Organization,
        wanted: Sequence[UnitRow],
    ) -> None:
        self._principal = principal
        self._home = home
        self._rows = wanted
        self._owners: dict[str, tuple[str, str]] = {}
        for each in organizations.tree(connection, principal, home.path):
            for name in (each.id, each.path, each.path.removeprefix(f"{home.path}/")):
                self._owners[name] = (each.id, each.path)
        self._holders = _holders(connection, wanted)
        ids = {each.id for each in wanted if each.id} | set(self._holders.values())
        self._known = _known(connection, ids)
        self._meant: dict[str, int] = {}
        self._said: dict[tuple[str, str], int] = {}

    def plan(self) -> _Plan:
        plan = _Plan()
        for row in self._rows:
            refusal = self._place(row, plan)
            if refusal is not None:
                plan.refusals.append(refusal)
        return plan

    def _place(self, row: UnitRow, plan: _Plan) -> Refusal | None:
        """Where the row belongs, or why nowhere."""
        for system_id, given in row.addresses.items():
            for address in given:
                before = self._said.setdefault((system_id, address), row.row)
                if before != row.row:
                    return row.refuse(system_id, "twice", address, row=before)
        owner = self._owners.get(row.organization.strip("/")) if row.organization else None
        if row.organization and owner is None:
            return row.refuse("organization", "no_such_organization", row.organization)
        meant = {
            self._holders[(system_id, address)]: (system_id, address)
            for system_id, given in row.addresses.items()
            for address in given
            if (system_id, address) in self._holders
        }
        if row.id is not None:
            meant.setdefault(row.id, ("id", row.id))
        if not meant:
            return self._new(row, owner, plan)
        return self._old(row, meant, owner, plan)

    def _new(self, row: UnitRow, owner: tuple[str, str] | None, plan: _Plan) -> Refusal | None:
        if row.alias is None:
            return row.refuse("alias", "missing")
        if not row.addresses:
            return row.refuse("alias", "without_address", row.alias)
        plan.create.append((row, (owner or (self._home.id, ""))[0]))
        return None

    def _old(
        self,
        row: UnitRow,
        meant: Mapping[str, tuple[str, str]],
        owner: tuple[str, str] | None,
        plan: _Plan,
    ) -> Refusal | None:
        for unit_id, (field, value) in meant.items():
            known = self._known.get(unit_id)
            if known is None or not self._principal.may(INTEGRATE, known.path):
                return row.refuse(field, "no_such_unit" if field == "id" else "taken", value)
        if len(meant) > 1:
            field, value = next(iter(meant.values()))
            return row.refuse(field, "two_units", value)
        known = self._known[next(iter(meant))]
        before = self._meant.setdefault(known.id, row.row)
        if before != row.row:
            return row.refuse("alias", "same_unit", row.alias or "", row=before)
        if owner is not None and owner[1] != known.path:
            shown = row.organization or ""
            return row.refuse("organization", "moves", shown, path=known.path)
        if _says_anew(row, known):
            plan.update.append((row, known))
        else:
            plan.unchanged += 1
        return None


def _says_anew(row: UnitRow, known: _Known) -> bool:
    return (
        row.alias not in (None, known.alias)
        or row.priority not in (None, known.priority)
        or any(set(known.addresses.get(s, ())) != set(given) for s, given in row.addresses.items())
    )


def _holders(connection: Connection, wanted: Sequence[UnitRow]) -> dict[tuple[str, str], str]:
    """Whose the addresses of the rows are now: ids of units by (system, address)."""
    by_system: dict[str, set[str]] = {}
    for row in wanted:
        for system_id, given in row.addresses.items():
            by_system.setdefault(system_id, set()).update(given)
    found = {}
    for system_id, addresses in by_system.items():
        statement = select(_A.address, _A.unit_id).where(_A.system_id == system_id)
        for part in _parts(sorted(addresses)):
            for held in connection.execute(statement.where(_A.address.in_(part))):
                found[(system_id, held.address)] = held.unit_id
    return found


def _known(connection: Connection, ids: set[str]) -> dict[str, _Known]:
    found: dict[str, _Known] = {}
    for part in _parts(sorted(ids)):
        addresses: dict[str, dict[str, tuple[str, ...]]] = {}
        for held in connection.execute(
            select(_A.unit_id, _A.system_id, _A.address).where(_A.unit_id.in_(part))
        ):
            own = addresses.setdefault(held.unit_id, {})
            own[held.system_id] = (*own.get(held.system_id, ()), held.address)
        for row in connection.execute(
            select(_U.id, _U.alias, _U.priority, _O.path)
            .join_from(UNITS, ORGANIZATIONS, _U.organization_id == _O.id)
            .where(_U.id.in_(part))
        ):
            own = addresses.get(row.id, {})
            found[row.id] = _Known(row.id, row.alias, row.priority, row.path, own)
    return found


def _parts(values: Sequence[str]) -> list[Sequence[str]]:
    return [values[at : at + _AT_ONCE] for at in range(0, len(values), _AT_ONCE)]


def _create(
    connection: Connection, principal: Principal, wanted: Sequence[tuple[UnitRow, str]]
) -> None:
    if not wanted:
        return
    paths = {row.id: row.path for row in connection.execute(select(_O.id, _O.path))}
    at = now()
    units: list[dict[str, Any]] = []
    addresses: list[dict[str, Any]] = []
    noted: list[dict[str, Any]] = []
    for row, owner_id in wanted:
        unit_id = new_id()
        values = {"alias": row.alias, "priority": row.priority or 0}
        units.append(
            {
                **values,
                "id": unit_id,
                "organization_id": owner_id,
                "version": 1,
                "created_at": at,
                "updated_at": at,
            }
        )
        own = _addresses(unit_id, row.addresses)
        addresses += own
        shown = [{name: each[name] for name in ("system_id", "address")} for each in own]
        noted.append(
            {
                "id": new_id(),
                "at": at,
                "user_id": principal.user_id,
                "user_name": principal.name,
                "action": "create",
                "kind": "unit",
                "object_id": unit_id,
                "organization_path": paths[owner_id],
                "details": {
                    **values,
                    "organization": paths[owner_id],
                    "addresses": shown,
                    **principal.by,
                },
            }
        )
    connection.execute(insert(UNITS), units)
    connection.execute(insert(UNIT_ADDRESSES), addresses)
    connection.execute(insert(CHANGES), noted)


def _update(connection: Connection, principal: Principal, row: UnitRow, known: _Known) -> None:
    values: dict[str, Any] = {}
    if row.alias is not None:
        values["alias"] = row.alias
    if row.priority is not None:
        values["priority"] = row.priority
    rows.update_row(connection, UNITS, "unit", known.id, values, None)
    old = {"alias": known.alias, "priority": known.priority}
    changed = rows.difference(old, values)
    fresh = {
        system_id: given
        for system_id, given in row.addresses.items()
        if set(given) != set(known.addresses.get(system_id, ()))
    }
    if fresh:
        connection.execute(
            delete(UNIT_ADDRESSES).where(_A.unit_id == known.id, _A.system_id.in_(sorted(fresh)))
        )
        connection.execute(insert(UNIT_ADDRESSES), _addresses(known.id, fresh))
        changed["addresses"] = [_shown(known.addresses), _shown({**known.addresses, **fresh})]
    rows.record(connection, principal, "update", "unit", known.id, known.path, changed)


def _addresses(unit_id: str, given: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [
        {"unit_id": unit_id, "system_id": system_id, "address": address}
        for system_id, all_of_it in sorted(given.items())
        for address in all_of_it
    ]


def _shown(given: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [
        {"system_id": system_id, "address": address}
        for system_id, all_of_it in sorted(given.items())
        for address in sorted(all_of_it)
    ]
