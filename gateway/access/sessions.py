"""Who asks: by the token of a session, for people, or by an access token, for programs. Both are
opaque, and the database keeps only the SHA-256."""

import dataclasses
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta

from gateway.access.attempts import Allowance, Attempts
from gateway.access.errors import NotSignedIn, UserDisabled, WrongCredentials
from gateway.access.passwords import Passwords
from gateway.access.tokens import TokenUses, is_access_token
from registry import sessions, tokens, users
from registry.database import Connection, Database
from registry.errors import Invalid
from registry.identity import now
from registry.partition import Principal
from registry.users import Credentials

TOKEN_BYTES = 32
WRONG_TOKENS = {"name": Allowance(free=4, longest_s=60.0)}
"""Of the same access token, wherever it is shown: 256 bits cannot be guessed, so nobody is kept
from showing another, but a program that was forgotten somewhere need not ask the database for
ever."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SignedIn:
    """token: opaque, shown once. expires_in_s: without a refresh."""

    token: str = dataclasses.field(repr=False)
    expires_in_s: int
    user_id: str


class Access:
    """Sign-in, and who stands behind a token.

    lifetime_s: of a token; it must be refreshed within it, or its user signs in again. longest_s:
    a chain of refreshes ends then. cache_s: for how long a lookup is believed, so that a page
    asked for again and again does not ask the database who asks; what this process itself changes
    counts at once through `forget` and `forget_all`. clock: monotonic seconds.
    """

    def __init__(
        self,
        database: Database,
        *,
        passwords: Passwords | None = None,
        lifetime_s: float = 12 * 3600,
        longest_s: float = 7 * 24 * 3600,
        cache_s: float = 2.0,
        cache_room: int = 10_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.passwords = passwords or Passwords()
        self.attempts = Attempts(clock)
        self.wrong_tokens = Attempts(clock, WRONG_TOKENS)
        self.uses = TokenUses(database)
        self._database = database
        self._lifetime = timedelta(seconds=lifetime_s)
        self._longest = timedelta(seconds=longest_s)
        self._cache_s = cache_s
        self._room = cache_room
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()
        self._generation = 0

    async def sign_in(self, name: str, password: str, address: str) -> SignedIn:
        """address: where the person is, for the back-off.

        Raises: TooManyAttempts, WrongCredentials, UserDisabled, DatabaseAway.
        """
        with self.attempts.attempt(name, address):
            found = await self._database.read(
                lambda connection: users.credentials(connection, name)
            )
            user = await self._check(found, name, password, address)
        self.attempts.succeeded(name, address)
        if user.disabled:
            raise UserDisabled
        token = secrets.token_urlsafe(TOKEN_BYTES)
        expires_at = now() + self._lifetime
        await self._database.write(
            lambda connection: sessions.open_session(
                connection, user.user_id, hash_token(token), expires_at
            )
        )
        return _signed_in(token, user.user_id, expires_at)

    async def _check(
        self, found: Credentials | None, name: str, password: str, address: str
    ) -> Credentials:
        password_hash = found.password_hash if found else None
        right = await self.passwords.verify(password_hash, password)
        if found is None or not right:
            self.attempts.failed(name, address)
            raise WrongCredentials
        return found

    async def authenticate(self, token: str) -> Principal:
        """Who holds this token, with the roles of at most `cache_s` ago.

        Raises: NotSignedIn; TooManyAttempts for the same wrong access token again and again;
        DatabaseAway.
        """
        token_hash = hash_token(token)
        known = self._known.get(token_hash)
        if known is not None and known[1] > self._clock():
            return known[0]
        if is_access_token(token):
            return await self._look_up_access_token(token_hash)
        return await self._look_up(token_hash)

    async def _look_up(self, token_hash: bytes) -> Principal:
        generation = self._generation
        asked_s = self._clock()
        principal = await self._database.read(
            lambda connection: (
                users.principal_of(connection, session.user_id)
                if (session := sessions.find_session(connection, token_hash))
                else None
            )
        )
        self._known.pop(token_hash, None)
        if principal is None:
            raise NotSignedIn("this session is over: sign in again")
        self._keep(token_hash, principal, asked_s + self._cache_s, generation)
        return principal

    async def _look_up_access_token(self, token_hash: bytes) -> Principal:
        named = token_hash.hex()
        self.wrong_tokens.check(named, "")
        generation = self._generation
        asked_s = self._clock()
        acting = await self._database.read(lambda c: tokens.find(c, token_hash))
        self._known.pop(token_hash, None)
        if acting is None or acting.principal.token is None:
            self.wrong_tokens.failed(named, "")
            raise NotSignedIn("this access token is unknown, over or revoked")
        left_s = (acting.ends_at - now()).total_seconds()
        until_s = asked_s + min(self._cache_s, left_s)
        self._keep(token_hash, acting.principal, until_s, generation)
        self.uses.used(acting.principal.token.id, acting.last_used_at)
        return acting.principal

    def _keep(
        self, token_hash: bytes, principal: Principal, until_s: float, generation: int
    ) -> None:
        # What was forgotten while the answer was on its way must not come back with it.
        if generation != self._generation:
            return
        self._known[token_hash] = (principal, until_s)
        if len(self._known) > self._room:
            self._known.popitem(last=False)

    async def refresh(self, token: str) -> SignedIn:
        """Another token for the same session; the old one ends. Raises: NotSignedIn."""
        old_hash, token = hash_token(token), secrets.token_urlsafe(TOKEN_BYTES)
        session = await self._database.write(
            lambda connection: self._replace(connection, old_hash, hash_token(token))
        )
        self._drop(old_hash)
        if session is None:
            raise NotSignedIn("this session is over: sign in again")
        return _signed_in(token, session.user_id, session.expires_at)

    def _replace(
        self, connection: Connection, old_hash: bytes, new_hash: bytes
    ) -> sessions.Session | None:
        session = sessions.find_session(connection, old_hash)
        if session is None or not sessions.close_session(connection, old_hash):
            return None
        ends_at = session.signed_in_at + self._longest
        if ends_at <= now():
            return None
        expires_at = min(now() + self._lifetime, ends_at)
        return sessions.open_session(
            connection, session.user_id, new_hash, expires_at, session.signed_in_at
        )

    async def sign_out(self, token: str) -> None:
        """End the session of this token, if there is one."""
        token_hash = hash_token(token)
        await self._database.write(
            lambda connection: sessions.close_session(connection, token_hash)
        )
        self._drop(token_hash)

    async def change_password(
        self, principal: Principal, token: str, old: str, new: str, address: str
    ) -> None:
        """A person's own change; every other session of theirs ends.

        Raises: WrongCredentials for the old one, TooManyAttempts, Invalid for the new one.
        """
        with self.attempts.attempt(principal.name, address):
            found = await self._database.read(
                lambda connection: users.credentials_of(connection, principal.user_id)
            )
            await self._check(found, principal.name, old, address)
        if old == new:
            raise Invalid.at("new", "must be another password")
        password_hash = await self.passwords.hash(new)
        await self._database.write(
            lambda connection: users.set_password_hash(
                connection, principal, password_hash, hash_token(token)
            )
        )
        self.forget(principal.user_id)

    def forget(self, user_id: str) -> None:
        """Call after changing a user, their roles or tokens: the next request asks the database."""
        self._generation += 1
        for token_hash in [
            key for key, (principal, _) in self._known.items() if principal.user_id == user_id
        ]:
            del self._known[token_hash]

    def forget_all(self) -> None:
        """Call after changing organisations: the slug paths of roles may be others now."""
        self._generation += 1
        self._known.clear()

    def close(self) -> None:
        self.passwords.close()

    def _drop(self, token_hash: bytes) -> None:
        self._generation += 1
        self._known.pop(token_hash, None)


def _signed_in(token: str, user_id: str, expires_at: datetime) -> SignedIn:
    return SignedIn(
        token=token,
        expires_in_s=max(0, round((expires_at - now()).total_seconds())),
        user_id=user_id,
    )


def hash_token(token: str) -> bytes:
    """SHA-256; enough for 256 random bits, which nobody can guess from it."""
    return hashlib.sha256(token.encode()).digest()
