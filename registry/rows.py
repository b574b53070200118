"""What writing any object has in common: ids and versions in, one record of each change."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from registry.errors import Invalid, NotFound, Reason, VersionMismatch
from registry.identity import new_id, now, parse_id
from registry.models import CHANGES
from registry.partition import Principal


def known_id(kind: str, text: str) -> str:
    """The id in canonical form. Raises: NotFound where the text cannot be an id at all."""
    parsed = parse_id(text)
    if parsed is None:
        raise NotFound(kind, text)
    return parsed


def insert_row(connection: Connection, table: Table, values: Mapping[str, Any]) -> str:
    """Insert a versioned row; its new id, which sorts after those of earlier rows."""
    object_id = new_id()
    at = now()
    connection.execute(
        insert(table).values(id=object_id, version=1, created_at=at, updated_at=at, **values)
    )
    return object_id


def update_row(
    connection: Connection,
    table: Table,
    kind: str,
    object_id: str,
    values: Mapping[str, Any],
    version: int | None,
) -> None:
    """Change a row and count its version up. version: the one the caller read, None for any.

    Raises: VersionMismatch when somebody else was faster.
    """
    statement = update(table).where(table.c.id == object_id)
    if version is not None:
        statement = statement.where(table.c.version == version)
    changed = connection.execute(
        statement.values(**values, version=table.c.version + 1, updated_at=now())
    )
    if changed.rowcount == 0:
        _explain(connection, table, kind, object_id, version)


def delete_row(
    connection: Connection, table: Table, kind: str, object_id: str, version: int | None
) -> None:
    """Remove a row. Raises: VersionMismatch when it is not the version that the caller read."""
    statement = delete(table).where(table.c.id == object_id)
    if version is not None:
        statement = statement.where(table.c.version == version)
    if connection.execute(statement).rowcount == 0:
        _explain(connection, table, kind, object_id, version)


def _explain(
    connection: Connection, table: Table, kind: str, object_id: str, version: int | None
) -> None:
    actual = connection.scalar(select(table.c.version).where(table.c.id == object_id))
    if actual is None or version is None:
        raise NotFound(kind, object_id)
    raise VersionMismatch(kind, version, actual)


def check_version(kind: str, version: int | None, actual: int) -> None:
    """Raises: VersionMismatch unless version is None or the actual one."""
    if version is not None and version != actual:
        raise VersionMismatch(kind, version, actual)


def check_fields(changes: Mapping[str, Any], allowed: frozenset[str]) -> None:
    """Raises: Invalid naming every field that cannot be changed."""
    unknown = sorted(set(changes) - allowed)
    if unknown:
        raise Invalid(*(Reason(field=each, reason="cannot be changed") for each in unknown))


def record(
    connection: Connection,
    principal: Principal,
    action: str,
    kind: str,
    object_id: str,
    organization_path: str,
    details: Mapping[str, Any],
) -> None:
    """Write down who did what to which object. details: JSON values only, and no secret ever."""
    connection.execute(
        insert(CHANGES).values(
            id=new_id(),
            at=now(),
            user_id=principal.user_id,
            user_name=principal.name,
            action=action,
            kind=kind,
            object_id=object_id,
            organization_path=organization_path,
            details={**details, **principal.by},
        )
    )


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """``{field: [before, after]}`` of what after changes."""
    return {
        field: [before.get(field), value]
        for field, value in after.items()
        if before.get(field) != value
    }
