"""Which point of the registry each row of a staged file means."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, Row, select

from registry.exchange.bulk import among
from registry.exchange.reasons import Refusal, refuse
from registry.exchange.staging import GOOD, LOOSE, Staging
from registry.models import ORGANIZATIONS, POINTS
from registry.organizations import Organization
from registry.partition import INTEGRATE, SEE_POINTS, Principal, within

_P = POINTS.c
LOOKED_UP = 20_000
FEW_NAMES = 2_000
"""Rows whose names are looked up one by one, rather than among all points of an organisation."""


def match(
    connection: Connection,
    principal: Principal,
    staging: Staging,
    home: Organization,
    keep_on: Callable[[], None],
) -> None:
    """Find the point of each row: the one with its id, else with its code, else the one of its
    name and place that was created at or below home. Rows that nobody can tell apart are refused,
    and those that mean a point which the principal may not write."""
    staging.refuse_repeated_keys()
    keyed = f"(id IS NOT NULL OR code IS NOT NULL) AND {GOOD}"
    rights = _Rights(principal)
    for chunk in staging.select("n, id, code", "rows", keyed):
        keep_on()
        _match_keys(connection, rights, staging, chunk)
    _match_names(connection, staging, home, keep_on)
    staging.refuse_double_claims()


class _Rights:
    """What a principal may do where; remembered, as a file asks about the same places."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal
        self._known: dict[str, tuple[bool, bool]] = {}

    def at(self, path: str) -> tuple[bool, bool]:
        """Whether they see points there, and whether they may write them."""
        known = self._known.get(path)
        if known is None:
            may = self._principal.may
            known = self._known[path] = may(SEE_POINTS, path), may(INTEGRATE, path)
        return known


def _match_keys(
    connection: Connection, rights: _Rights, staging: Staging, chunk: list[tuple[int, str, str]]
) -> None:
    by_id = {row.id: row for row in _having(connection, _P.id, [i for _, i, _ in chunk if i])}
    by_code = {row.code: row for row in _having(connection, _P.code, [c for *_, c in chunk if c])}
    refused: list[tuple[int, Refusal]] = []
    matched: list[tuple[int, str]] = []
    for n, own, code in chunk:
        holder = by_code.get(code) if code else None
        point = by_id.get(own) if own else holder
        if point is None:
            if own:
                refused.append((n, refuse("id", "no_such_point", value=own)))
            continue
        sees, writes = rights.at(point.path)
        if own and not sees:
            refused.append((n, refuse("id", "no_such_point", value=own)))
        elif holder is not None and holder.id != point.id:
            refused.append((n, refuse("code", "code_in_use", value=code)))
        elif not writes:
            reason = "may_not_write" if sees else "code_in_use"
            refused.append((n, refuse("row" if sees else "code", reason, value=code or "")))
        else:
            matched.append((n, point.id))
    staging.refuse(refused)
    staging.insert("meant", matched, 2)


def _having(connection: Connection, column: Column[Any], keys: list[str]) -> list[Row[Any]]:
    if not keys:
        return []
    wanted = select(_P.id, _P.code, ORGANIZATIONS.c.path).join_from(
        POINTS, ORGANIZATIONS, _P.organization_id == ORGANIZATIONS.c.id
    )
    return list(connection.execute(wanted.where(among(connection, column, keys, "keys"))))


def _match_names(
    connection: Connection, staging: Staging, home: Organization, keep_on: Callable[[], None]
) -> None:
    """Names and places are looked up among the points that were created inside the organisation,
    whoever a polygon gave them to."""
    found = staging.db.execute(
        f"SELECT name FROM rows WHERE name IS NOT NULL AND {LOOSE} LIMIT ?", (FEW_NAMES + 1,)
    )
    names = [name for (name,) in found]
    if not names:
        return
    inside = select(ORGANIZATIONS.c.id).where(within(ORGANIZATIONS.c.path, home.path))
    wanted = select(_P.id, _P.code, _P.name, _P.place).where(_P.home_id.in_(inside))
    if len(names) <= FEW_NAMES:
        wanted = wanted.where(among(connection, _P.name, names, "names"))
    wanted = wanted.order_by(_P.id).limit(LOOKED_UP)
    # A read on PostgreSQL is no transaction, so there is no cursor to stream from.
    rows = connection.execute(wanted).all()
    while rows:
        keep_on()
        staging.insert("existing", map(tuple, rows), 4)
        if len(rows) < LOOKED_UP:
            break
        rows = connection.execute(wanted.where(_P.id > rows[-1].id)).all()
    staging.match_names()
