"""How shares end by themselves: when the point they show changes its owner."""

from sqlalchemy import ColumnElement, Connection, select
from sqlalchemy import delete as sql_delete

from registry import rows
from registry.models import ORGANIZATIONS, POINTS, SHARES
from registry.partition import Principal

_S = SHARES.c


def end_stale(connection: Connection, principal: Principal) -> int:
    """End the shares of points that their organisation does not own any more; how many those were.

    Whatever writes owners calls it in the same transaction, so that a share does not come back
    with its point.
    """
    stale = select(_S.id).join(POINTS, POINTS.c.id == _S.point_id)
    return end(
        connection,
        principal,
        _S.id.in_(stale.where(POINTS.c.organization_id != _S.owner_id)),
        "its point changed owner",
    )


def end(connection: Connection, principal: Principal, which: ColumnElement[bool], why: str) -> int:
    """End shares, each with a record at its owner; how many there were."""
    found = connection.execute(
        select(_S.id, _S.point_id, _S.receiver_id, ORGANIZATIONS.c.path)
        .join(ORGANIZATIONS, ORGANIZATIONS.c.id == _S.owner_id)
        .where(which)
    ).all()
    for row in found:
        details = {"point": row.point_id, "to": row.receiver_id, "why": why}
        rows.record(connection, principal, "end", "share", row.id, row.path, details)
    if found:
        connection.execute(sql_delete(SHARES).where(_S.id.in_([row.id for row in found])))
    return len(found)
