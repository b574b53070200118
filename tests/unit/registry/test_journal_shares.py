"""History by shares: of what is shown, since it is, for as long as it is; on both databases."""

import dataclasses
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from databases import Registry
from sqlalchemy import update
from test_registry_shares import HOUR, holding, over, put, share, tree

from registry import journal, organizations, points, shares
from registry.database import Database
from registry.identity import now
from registry.journal import Call, Event, Scope, Wanted
from registry.models import SHARES
from registry.models.journal import JOURNAL_CALLS
from registry.partition import SYSTEM
from registry.shares import Share

pytest_plugins = ["databases"]
__all__ = ["tree"]
RECEIVER = holding(("viewer", "d/s2"))


@dataclasses.dataclass
class Past:
    """The registry, and the journal that belongs to it."""

    registry: Registry
    store: Database
    ids: dict[str, str]

    def happened(self, path: str, subject: str, at: datetime, **more: Any) -> None:
        """An event and a call, heard and stored when they were unless `more` says otherwise."""
        heard = more.pop("received_at", at)
        event = Event(
            **{
                "id": f"{subject}-{at}-{heard}",
                "source": "hutong/n/device-1",
                "type": "text.message",
                "subject": subject,
                "organization_id": self.ids[path],
                "time": at,
                "received_at": heard,
                "epoch": "e",
                "sequence": 1,
                "uptime_ms": 1,
                "late": False,
                "data": {},
                **more,
            }
        )
        call = Call(
            key=str(uuid.uuid5(uuid.NAMESPACE_OID, event.id)),
            channel_id=subject,
            organization_id=self.ids[path],
            patch_id="",
            talker="s/1",
            talker_alias="",
            emergency=False,
            encrypted=False,
            started_at=at,
            ended_at=None,
            duration_s=None,
            outcome="local",
            end_reason="",
            bridged_to=(),
        )
        self.store.write_now(lambda c: journal.store(c, [event], [call], {}))
        stored = update(JOURNAL_CALLS).where(JOURNAL_CALLS.c.key == call.key)
        self.store.write_now(lambda c: c.execute(stored.values(stored_at=heard)))

    def scope(self, who: Any = RECEIVER) -> Scope:
        return self.registry(journal.scope_of, who)

    def events(self, who: Any = RECEIVER, **wanted: Any) -> list[str]:
        scope = self.scope(who)
        page = self.store.read_now(
            lambda c: journal.read_events(c, scope, Wanted(**wanted), limit=500, cursor=None)
        )
        assert page.total == len(page.items)
        return [each.subject for each in page.items]

    def calls(self, who: Any = RECEIVER) -> list[str]:
        scope = self.scope(who)
        page = self.store.read_now(
            lambda c: journal.read_calls(c, scope, Wanted(), limit=500, cursor=None)
        )
        assert page.total == len(page.items)
        return [each.channel_id for each in page.items]

    def began(self, made: Share, at: datetime) -> None:
        statement = update(SHARES).where(SHARES.c.id == made.id).values(starts_at=at)
        self.registry.database.write_now(lambda c: c.execute(statement))


@pytest.fixture
def past(tree: Registry, journal_store: Database) -> Past:
    found = tree(organizations.tree, SYSTEM)
    return Past(tree, journal_store, {each.path: each.id for each in found})


def test_a_subtree_is_read_since_its_share_began_and_while_it_holds(past: Past) -> None:
    began = now() - HOUR
    past.happened("d/s1", "before", began - timedelta(milliseconds=1))
    past.happened("d/s1", "first", began)
    past.happened("d/s1/w1", "below", began + HOUR / 2)
    past.happened("d/s3", "theirs", began + HOUR / 2)
    past.happened("d/s2", "own", began - HOUR)
    assert (past.events(), past.calls()) == (["own"], ["own"])
    made = share(past.registry, organization="d/s1")
    assert (past.events(), past.calls()) == (["own"], ["own"])
    past.began(made, began)
    both = ["own", "below", "first"]
    assert (past.events(), past.calls()) == (both, both)
    assert past.events(subject="below", since=began, until=now()) == ["below"]
    assert past.events(type="floor.taken") == []
    # Whom no share is given to: below the receiver, and who does not look.
    for who in (("viewer", "d/s2/w2"), ("integrator", "d/s2"), ("auditor", "d/s2")):
        assert past.scope(holding(who)).shown == ()
        assert "below" not in past.events(holding(who))
    # Whoever sees the owner by a role reads it all.
    assert len(past.events(holding(("viewer", "d")))) == 5
    assert past.scope(holding(("viewer", "d"))).shown == ()
    over(past.registry, made.id)
    assert (past.events(), past.calls()) == (["own"], ["own"])


def test_neither_clock_brings_in_what_was_before(past: Past) -> None:
    began = now() - HOUR
    past.began(share(past.registry, organization="d/s1"), began)
    later = began + HOUR / 2
    # A writer a day ahead: by our own clock it came before the share began.
    past.happened("d/s1", "ahead", later + timedelta(days=1), received_at=began - HOUR)
    # An outbox: it came since, and was before.
    past.happened("d/s1", "kept", began - HOUR, received_at=later, late=True)
    past.happened("d/s1", "kept-short", later, received_at=later + HOUR / 4, late=True)
    # A writer an hour behind: it came since, and is no call of before.
    past.happened("d/s1", "behind", began - HOUR, received_at=later)
    assert past.events() == ["behind", "kept-short"]
    assert past.calls() == ["kept-short"]


def test_a_share_of_a_point_shows_its_events_alone(past: Past) -> None:
    point, other = put(past.registry, "d/s1/w1"), put(past.registry, "d/s1/w1")
    began = now() - HOUR
    made = share(past.registry, point=point.id)
    past.began(made, began)
    for each in (point.id, other.id, "channel"):
        past.happened("d/s1/w1", each, began + HOUR / 2)
    past.happened("d/s1", point.id, began + HOUR / 2)  # while somebody else had it
    past.happened("d/s1/w1", point.id, began - HOUR)
    assert past.events() == [point.id]
    assert past.calls() == []
    past.registry(points.assign, SYSTEM, [point.id], "d/s3")
    assert past.events() == []


def test_what_a_system_says_of_its_units_is_not_shown(past: Past) -> None:
    began = now() - HOUR
    past.began(share(past.registry, organization="d/s1"), began)
    past.happened("d/s1", "system-1", now(), source="hutong/n/system-1")
    past.happened("d/s1", "channel-1", now(), source="hutong/n/system-1")
    assert past.events() == ["channel-1"]
    assert len(past.events(holding(("viewer", "d")))) == 2


def test_of_several_shares_the_first_counts_and_there_may_be_many(past: Past) -> None:
    began = now() - HOUR
    first = share(past.registry, organization="d/s1/w1")
    past.began(first, began)
    share(past.registry, organization="d/s1")
    past.happened("d/s1/w1", "a", began)
    past.happened("d/s1", "b", began)
    assert past.events() == ["a"]
    past.registry(shares.delete, SYSTEM, first.id)
    assert past.events() == []
    (one, *_) = past.scope().shown
    many = tuple(
        dataclasses.replace(one, subject=f"point-{n}", since=began + timedelta(milliseconds=n))
        for n in range(journal.MOST_WINDOWS - 1)
    )
    past.happened("d/s1", "point-1000", now())
    scope = Scope(everything=False, ids=frozenset(), shown=many)
    page = past.store.read_now(
        lambda c: journal.read_events(c, scope, Wanted(), limit=5, cursor=None)
    )
    assert page.total >= 1
    assert "point-1000" in [each.subject for each in page.items]
