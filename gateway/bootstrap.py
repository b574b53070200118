"""The first organisation and the first user: what nobody can do through the API yet."""

from gateway.access.passwords import Passwords
from registry import organizations, users
from registry.database import Connection, Database
from registry.errors import NotFound
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.users import NewRole, NewUser, User


async def add_user(
    database: Database, *, name: str, password: str, role: str, organization: str, district: str
) -> User:
    """Add a user straight to the registry. organization: slug path. district: the name of a new
    root organisation to make for it, empty to make none.

    Raises: Invalid, Conflict, NotFound, DatabaseAway.
    """
    password_hash = await Passwords().hash(password)

    def write(connection: Connection) -> User:
        if district:
            _make_district(connection, organization, district)
        roles = (NewRole(role=role, organization=organization),)
        new = NewUser(name=name, password_hash=password_hash, roles=roles)
        return users.create(connection, SYSTEM, new)

    return await database.write(write)


def _make_district(connection: Connection, slug: str, name: str) -> None:
    try:
        organizations.get(connection, SYSTEM, slug)
    except NotFound:
        new = NewOrganization(kind="district", name=name, slug=slug, parent=None)
        organizations.create(connection, SYSTEM, new)
