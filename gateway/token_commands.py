"""What `hutong token create` does."""

import sys
from collections.abc import Iterable
from datetime import timedelta

from gateway.access.sessions import hash_token
from gateway.access.tokens import new_access_token
from gateway.settings import Settings
from gateway.startup import CannotStart, open_database, prepare_data_dir
from registry import tokens, users
from registry.database import Connection
from registry.errors import Conflict, Invalid
from registry.identity import now
from registry.partition import SYSTEM
from registry.tokens import CARRIABLE, NewToken, NewTokenRole, Token


class WrongRole(Exception):
    """One sentence about a role that cannot be read."""


def roles_of(given: Iterable[str]) -> tuple[NewTokenRole, ...] | None:
    """Roles as ``viewer@shenhe/wanlian``, None for none given. Raises: WrongRole."""
    roles = []
    for text in given:
        role, at, organization = text.partition("@")
        if not at or not organization or role not in CARRIABLE:
            named = ", ".join(CARRIABLE)
            raise WrongRole(f"--role must be ROLE@ORG with one of {named}, not {text!r}")
        roles.append(NewTokenRole(role=role, organization=organization))
    return tuple(roles) or None


async def create_token(
    settings: Settings,
    user_name: str,
    name: str,
    days: int,
    roles: tuple[NewTokenRole, ...] | None,
) -> None:
    """Print a new token, and on standard error what it is. Raises: CannotStart, RegistryError."""
    prepare_data_dir(settings)
    database = open_database(settings)
    secret = new_access_token()

    def write(connection: Connection) -> Token:
        user = users.credentials(connection, user_name)
        if user is None:
            raise CannotStart(f"there is no user {user_name!r}")
        new = NewToken(
            name=name,
            token_hash=hash_token(secret),
            user=user.user_id,
            ends_at=now() + timedelta(days=days),
            roles=roles,
        )
        return tokens.create(connection, SYSTEM, new)

    try:
        await database.upgrade()
        token = await database.write(write)
    except Conflict as error:
        raise CannotStart(error.message) from None
    except Invalid as error:
        raise CannotStart("; ".join(each.reason for each in error.reasons)) from None
    finally:
        await database.close()
    sys.stdout.write(f"{secret}\n")
    carried = "all that they have"
    if token.roles is not None:
        carried = ", ".join(f"{each.role} at {each.organization.path}" for each in token.roles)
    sys.stderr.write(
        f"token {token.id} ({token.name}) acts for {token.user_name} until "
        f"{token.ends_at:%Y-%m-%d %H:%M} UTC, with {carried}; it is not shown again\n"
    )
