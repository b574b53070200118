"""What an organisation has many of: found by id and listed in pages, as far as somebody sees it."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Select, Table

from registry import organizations, rows
from registry.errors import NotFound
from registry.organizations import OrganizationRef
from registry.paging import AnyRow, Page, read_page
from registry.partition import Principal, Role, owned_within, visible

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """kind: as people call one. columns: what is selected of each, its id first. roles: any of
    them shows it, at its organisation or above."""

    kind: str
    table: Table
    columns: Select[Any]
    roles: Iterable[Role]

    def row(self, connection: Connection, principal: Principal, object_id: str) -> AnyRow:
        """Raises: NotFound where there is none, or none that the principal sees."""
        found = connection.execute(
            self.columns.where(
                self.table.c.id == rows.known_id(self.kind, object_id),
                visible(self.table.c.organization_id, principal, self.roles),
            )
        ).one_or_none()
        if found is None:
            raise NotFound(self.kind, object_id)
        return found

    def page(
        self,
        connection: Connection,
        principal: Principal,
        read: Callable[[Sequence[AnyRow]], tuple[T, ...]],
        *conditions: ColumnElement[bool],
        organization: str | None,
        limit: int,
        cursor: str | None,
    ) -> Page[T]:
        """What the principal sees, in the order it was made. read: rows to objects. conditions: on
        the table's own columns. organization: id or path; those below it are included.

        Raises: NotFound for an organisation that is not seen; Invalid.
        """
        owner = self.table.c.organization_id
        wanted = [visible(owner, principal, self.roles), *conditions]
        if organization is not None:
            below = organizations.get(connection, principal, organization, self.roles)
            wanted.append(owned_within(owner, below.path))
        return read_page(
            connection, self.table, self.columns, wanted, read, limit=limit, cursor=cursor
        )


def owner_of(row: AnyRow) -> OrganizationRef:
    """The organisation of a row that has its id, path and name."""
    return OrganizationRef(
        id=row.organization_id, path=row.organization_path, name=row.organization_name
    )
