"""Which reader of a media server looks by whose ticket, and who has to go. Pure.

A token can be shown again until it expires, so a ticket is bound to the first session that is
seen with it; any other session with it, then or later, is disconnected.
"""

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime

from gateway.live.mediaserver.wire import Reader
from gateway.live.rights import View
from gateway.live.tickets import Ticket
from gateway.live.viewings import Viewing

# A session that began in a token's last moment is seen only with the next look.
LATE_S = 15.0


@dataclasses.dataclass(slots=True, kw_only=True)
class Grant:
    """What a ticket allows at a media server. server: its control address. reader: the session
    that took it, since opened_at (UTC) and opened_s. ended: why nobody may use it any more."""

    ticket: Ticket
    server: str
    path: str
    reader: Reader | None = None
    opened_at: datetime = dataclasses.field(default_factory=lambda: datetime.now(UTC))
    opened_s: float = 0.0
    ended: str = ""

    @property
    def view(self) -> View:
        return View(
            user_id=self.ticket.user_id,
            point_id=self.ticket.point_id,
            clear=True,
            token_id=self.ticket.token_id,
        )

    def viewing(self, now_s: float, ended: str | None = None) -> Viewing:
        """For the record of viewing."""
        return Viewing(
            id=self.ticket.id,
            user_id=self.ticket.user_id,
            point_id=self.ticket.point_id,
            profile=self.ticket.profile,
            transport=self.reader.transport if self.reader else "",
            clear=True,
            jpeg=False,
            purpose=self.ticket.purpose,
            opened_at=self.opened_at,
            seconds=now_s - self.opened_s,
            ended=ended,
            token_id=self.ticket.token_id,
        )


@dataclasses.dataclass(slots=True, kw_only=True)
class Judgement:
    """opened: grants whose session is new. closed: those whose session is over, as they were.
    kicks: sessions that have to go, each with the reason; replays: how many of them showed a
    ticket that another session has or had."""

    opened: list[Grant] = dataclasses.field(default_factory=list)
    closed: list[Viewing] = dataclasses.field(default_factory=list)
    kicks: list[tuple[Reader, str]] = dataclasses.field(default_factory=list)
    replays: int = 0


class GrantBook:
    """All grants of this node. owner: what the names of its paths begin with."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._grants: dict[str, Grant] = {}

    def __len__(self) -> int:
        return len(self._grants)

    def add(self, ticket: Ticket, server: str, path: str) -> None:
        """ticket: whose right has been checked."""
        self._grants[ticket.id] = Grant(ticket=ticket, server=server, path=path)

    def running(self) -> list[Grant]:
        """Those by which somebody is known to look."""
        return [each for each in self._grants.values() if each.reader is not None]

    def wanted(self, now_s: float) -> set[str]:
        """The paths at which somebody looks, or may still begin to look."""
        return {
            grant.path
            for grant in self._grants.values()
            if not grant.ended
            and (grant.reader is not None or now_s < grant.ticket.deadline_s + LATE_S)
        }

    def end(self, ticket_id: str, reason: str) -> bool:
        """Nobody may use this grant any more; False where there is none that could be."""
        grant = self._grants.get(ticket_id)
        if grant is None or grant.ended:
            return False
        grant.ended = reason
        return True

    def end_view(self, view: View, reason: str) -> int:
        """All grants by which this is looked at; gives how many."""
        return sum(
            self.end(grant.ticket.id, reason)
            for grant in tuple(self._grants.values())
            if grant.view == view
        )

    def judge(self, server: str, readers: Iterable[Reader], now_s: float) -> Judgement:
        """Act on the list of a server's readers. Those of others' paths are not looked at."""
        result = Judgement()
        present = set()
        for reader in sorted(readers, key=lambda reader: reader.created_s):
            if reader.path.startswith(self._owner):
                present.add(reader.id)
                self._judge(reader, server, now_s, result)
        for grant in self.running():
            if grant.server == server and grant.reader and grant.reader.id not in present:
                self._close(grant, now_s, grant.ended or "the viewer left", result)
        self._forget(now_s)
        return result

    def _judge(self, reader: Reader, server: str, now_s: float, result: Judgement) -> None:
        grant = self._grants.get(reader.ticket_id)
        if grant is None or grant.path != reader.path or grant.server != server:
            result.kicks.append((reader, "its ticket is unknown here"))
        elif grant.reader is not None and grant.reader.id != reader.id:
            result.replays += 1
            result.kicks.append((reader, "its ticket is used by another session"))
        elif grant.ended:
            result.kicks.append((reader, grant.ended))
        elif grant.reader is None:
            grant.reader, grant.opened_s = reader, now_s
            grant.opened_at = datetime.now(UTC)
            result.opened.append(grant)

    def close_all(self, server: str, now_s: float, reason: str) -> list[Viewing]:
        """The server is gone, and with it everybody who looked there."""
        result = Judgement()
        for grant in tuple(self._grants.values()):
            if grant.server == server:
                self.end(grant.ticket.id, reason)
                if grant.reader is not None:
                    self._close(grant, now_s, reason, result)
        return result.closed

    def _close(self, grant: Grant, now_s: float, reason: str, result: Judgement) -> None:
        result.closed.append(grant.viewing(now_s, reason))
        grant.reader = None
        grant.ended = grant.ended or "its ticket has been used"

    def _forget(self, now_s: float) -> None:
        self._grants = {
            ticket_id: grant
            for ticket_id, grant in self._grants.items()
            if grant.reader is not None or now_s < grant.ticket.deadline_s + LATE_S
        }
