"""Tickets: the only credential a live address needs. Pure; the clocks are passed in."""

import dataclasses
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from gateway.live.errors import LimitReached, TicketInvalid


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnownProfile:
    """What the registry last knew of a profile. codec: None if unknown; sizes in pixels or 0."""

    codec: str | None = None
    width: int = 0
    height: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The right of one user to open one stream of one point once.

    id: names it in records, and opens nothing. clear: the picture is shown as it is, either since
    the point has no masks or since the user may see past them. purpose: why the user looks, or
    empty. expires_at: for people; deadline_s: on the book's own clock. token_id: of the access
    token by which it was asked for, or empty.
    """

    token: str = dataclasses.field(repr=False)
    id: str
    user_id: str
    point_id: str
    profile: str
    known: KnownProfile
    clear: bool
    purpose: str
    expires_at: datetime
    deadline_s: float
    token_id: str = ""

    def urls(self, prefix: str = "/api/v1") -> dict[str, str]:
        """Where the stream can be had, by transport."""
        base = f"{prefix}/live/{self.token}"
        return {name: f"{base}/{name}" for name in ("frames", "fmp4", "mjpeg", "whep")}


class TicketBook:
    """Gives tickets out and takes each back once.

    clock: monotonic seconds. wall: the time of day. random_token: unguessable text.
    """

    def __init__(
        self,
        *,
        lifetime_s: float,
        limit: int,
        clock: Callable[[], float],
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
        random_token: Callable[[], str] = lambda: secrets.token_urlsafe(24),
    ) -> None:
        self._lifetime_s = lifetime_s
        self._limit = limit
        self._clock = clock
        self._wall = wall
        self._random_token = random_token
        self._tickets: dict[str, Ticket] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def issue(
        self,
        user_id: str,
        point_id: str,
        profile: str,
        known: KnownProfile | None = None,
        *,
        clear: bool = True,
        purpose: str = "",
        token_id: str = "",
    ) -> Ticket:
        """A new ticket. Raises: LimitReached while too many wait for their use."""
        now_s = self._clock()
        self._forget_expired(now_s)
        if len(self._tickets) >= self._limit:
            raise LimitReached("too many tickets wait for their use")
        ticket = Ticket(
            token=self._random_token(),
            id=secrets.token_hex(16),
            user_id=user_id,
            point_id=point_id,
            profile=profile,
            known=known or KnownProfile(),
            clear=clear,
            purpose=purpose,
            expires_at=self._wall() + timedelta(seconds=self._lifetime_s),
            deadline_s=now_s + self._lifetime_s,
            token_id=token_id,
        )
        self._tickets[ticket.token] = ticket
        return ticket

    def redeem(self, token: str) -> Ticket:
        """Take a ticket back. Raises: TicketInvalid, whatever is wrong with it."""
        ticket = self._tickets.pop(token, None)
        if ticket is None or self._clock() >= ticket.deadline_s:
            raise TicketInvalid("the ticket is unknown, used or too old")
        return ticket

    def _forget_expired(self, now_s: float) -> None:
        # All live equally long, so the oldest come first.
        for token, ticket in list(self._tickets.items()):
            if ticket.deadline_s > now_s:
                break
            del self._tickets[token]
