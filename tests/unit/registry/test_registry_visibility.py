"""Who sees which point and which channel, and who owns what, after anything was done to any tree:
the rules as design says them, walked by hand, against what SQL shows; on both databases."""

import contextlib
import copy
import dataclasses
from datetime import timedelta
from typing import Any

from databases import Registry
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from registry import (
    channels,
    organizations,
    point_lists,
    points,
    repartition,
    reshaping,
    shares,
    systems,
    users,
)
from registry.channels import NewChannel
from registry.errors import Conflict, Invalid, NotFound
from registry.identity import now
from registry.jurisdictions import area_m2, read_geometry
from registry.models import SHARES
from registry.organizations import Counts, NewOrganization
from registry.partition import SEE_DEVICES, SEE_PICTURES, SEE_POINTS, SYSTEM, Principal, Role
from registry.point_lists import PointFilter
from registry.points import NewPoint
from registry.shares import NewShare, Shown
from registry.systems import NewSystem
from registry.users import NewRole, NewUser

pytest_plugins = ["databases"]

HOUR = timedelta(hours=1)
# Slugs that only byte order and whole segments tell apart, and wildcards of LIKE.
SLUGS = ("a", "a-b", "ab", "a0", "b", "z9")
LOOKS = frozenset({"viewer", "dispatcher", "admin"})
PICTURES = LOOKS | {"clear_view"}
POINTS_TOO = PICTURES | {"integrator"}


@dataclasses.dataclass
class Box:
    """Corners in whole degrees; a hole of one degree less on each side where it fits."""

    west: int
    south: int
    side: int
    holed: bool

    def covers(self, place: tuple[int, int]) -> bool:
        east, north = self.west + self.side, self.south + self.side
        inside = self.west <= place[0] <= east and self.south <= place[1] <= north
        in_hole = (
            self.has_hole
            and self.west + 1 < place[0] < east - 1
            and self.south + 1 < place[1] < north - 1
        )
        return inside and not in_hole

    @property
    def has_hole(self) -> bool:
        return self.holed and self.side > 2

    @property
    def document(self) -> dict[str, Any]:
        def ring(west: int, south: int, side: int) -> list[list[int]]:
            east, north = west + side, south + side
            return [[west, south], [east, south], [east, north], [west, north], [west, south]]

        rings = [ring(self.west, self.south, self.side)]
        if self.has_hole:
            rings.append(ring(self.west + 1, self.south + 1, self.side - 2))
        return {"type": "Polygon", "coordinates": rings}


@dataclasses.dataclass
class Place:
    """An organisation."""

    slug: str
    parent: int | None
    box: Box | None
    id: str = ""


@dataclasses.dataclass
class Spot:
    """A point."""

    home: int
    place: tuple[int, int] | None
    explicit: bool
    owner: int = 0
    by: str = ""
    id: str = ""


@dataclasses.dataclass
class Lent:
    """A share. when: -1 over, 0 now, 1 to come."""

    owner: int
    point: int | None
    to: int
    when: int
    ptz: bool
    over: bool = False


@dataclasses.dataclass
class Person:
    """roles: with the organisation and whether the role itself is over (clear_view alone ends)."""

    roles: list[tuple[str, int, bool]]
    disabled: bool


@dataclasses.dataclass
class World:
    places: list[Place]
    spots: list[Spot]
    channels: list[int]
    people: list[Person]
    steps: list[tuple[Any, ...]]
    lent: list[Lent] = dataclasses.field(default_factory=list)

    # --- the rules, by walking ------------------------------------------------------------------

    def above(self, index: int | None) -> list[int]:
        """An organisation and those above it, itself first."""
        found = []
        while index is not None:
            found.append(index)
            index = self.places[index].parent
        return found

    def path(self, index: int) -> str:
        return "/".join(self.places[each].slug for each in reversed(self.above(index)))

    def decide(self, spot: Spot) -> tuple[int, str]:
        covering = [
            index
            for index, each in enumerate(self.places)
            if spot.place and each.box and spot.home in self.above(index)
            if each.box.covers(spot.place)
        ]
        if not covering:
            return spot.home, "none"

        def rank(index: int) -> tuple[int, int, str]:
            box = self.places[index].box
            assert box is not None
            area = area_m2(read_geometry(box.document))
            return -len(self.above(index)), area, self.path(index)

        return min(covering, key=rank), "polygon"

    def own(self, number: int, owner: int, by: str) -> None:
        spot = self.spots[number]
        if spot.owner != owner:
            for each in self.lent:
                each.over |= each.point == number
        spot.owner, spot.by = owner, by

    def has(self, person: Person, wanted: frozenset[str], owner: int) -> bool:
        return not person.disabled and any(
            role in wanted and not over and at in self.above(owner)
            for role, at, over in person.roles
        )

    def by_share(self, person: Person, owner: int, number: int | None) -> list[Lent]:
        return [
            each
            for each in self.lent
            if each.when == 0
            and not each.over
            and self.has(person, LOOKS, each.to)
            and (
                each.owner in self.above(owner)
                if each.point is None
                else each.point == number and each.owner == owner
            )
        ]


BOXES = st.none() | st.builds(
    Box, st.integers(0, 3), st.integers(0, 3), st.integers(1, 6), st.booleans()
)
# Those who see something are drawn more often: a set that is always empty proves little.
ROLES = ("viewer", "viewer", "dispatcher", *map(str, Role))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    places: list[Place] = []
    for _ in range(draw(st.integers(2, 6))):
        parent = draw(st.none() | st.sampled_from(range(len(places)))) if places else None
        taken = {each.slug for each in places if each.parent == parent}
        slug = draw(st.sampled_from([each for each in SLUGS if each not in taken] or ["n"]))
        if slug not in taken:
            places.append(Place(slug, parent, draw(BOXES)))
    which = st.integers(0, len(places) - 1)
    where = st.none() | st.tuples(st.integers(0, 7), st.integers(0, 7))
    spots = draw(st.lists(st.builds(Spot, which, where, st.booleans()), min_size=1, max_size=5))
    point = st.integers(0, len(spots) - 1)
    lent = st.builds(
        Lent, which, st.none() | point, which, st.sampled_from([-1, 0, 0, 0, 1]), st.booleans()
    )
    partition = st.tuples(st.just("partition"), which)
    assign = st.tuples(st.just("assign"), point, st.none() | which)
    some = st.one_of(
        lent.map(lambda each: [("share", each)]),
        lent.map(lambda each: [("share", dataclasses.replace(each, when=-1))]),
        lent.map(lambda each: [("share", dataclasses.replace(each, when=1))]),
        # What was shared is given away.
        st.tuples(lent, assign).map(
            lambda both: [("share", dataclasses.replace(both[0], point=both[1][1])), both[1]]
        ),
        assign.map(lambda each: [each]),
        # New boundaries, as they are drawn and then put in force.
        st.tuples(st.tuples(st.just("jurisdiction"), which, BOXES), partition).map(list),
        st.tuples(st.just("move"), which, st.none() | which, st.sampled_from(SLUGS)).map(
            lambda each: [each]
        ),
    )
    role = st.tuples(st.sampled_from(ROLES), which, st.booleans())
    people = st.builds(
        Person,
        st.lists(role, min_size=1, max_size=3).map(
            lambda roles: [(name, at, over and name == "clear_view") for name, at, over in roles]
        ),
        st.sampled_from([False, False, False, True]),
    )
    return World(
        places=places,
        spots=spots,
        channels=draw(st.lists(which, max_size=4)),
        people=draw(st.lists(people, min_size=1, max_size=3)),
        steps=[step for steps in draw(st.lists(some, max_size=6)) for step in steps],
    )


class Acting:
    """Does to the registry what it does to the world."""

    def __init__(self, connection: Any, world: World) -> None:
        self.connection = connection
        self.world = world
        self.channel_ids: list[str] = []

    def build(self) -> None:
        world = self.world
        for index, each in enumerate(world.places):
            parent = world.places[each.parent].id if each.parent is not None else None
            new = NewOrganization(
                kind="district",
                name="n",
                slug=each.slug,
                parent=parent,
                jurisdiction=each.box.document if each.box else None,
            )
            each.id = organizations.create(self.connection, SYSTEM, new).id
            assert organizations.get(self.connection, SYSTEM, world.path(index)).id == each.id
        for spot in world.spots:
            longitude, latitude = spot.place or (None, None)
            new_point = NewPoint(
                organization=world.places[spot.home].id,
                name="p",
                longitude=longitude,
                latitude=latitude,
                assign="explicit" if spot.explicit else "polygon",
            )
            spot.id = points.create(self.connection, SYSTEM, new_point).id
            spot.owner, spot.by = (spot.home, "explicit") if spot.explicit else world.decide(spot)
        for number, owner in enumerate(world.channels):
            place = world.places[owner].id
            system = NewSystem(adapter="homebrew", name=f"s{number}", organization=place)
            made = systems.create(self.connection, SYSTEM, system)
            new_channel = NewChannel(system=made.id, address="1", name="c", kind="trunk")
            self.channel_ids.append(channels.create(self.connection, SYSTEM, new_channel).id)

    def share(self, lent: Lent) -> None:
        world = self.world
        owner = lent.owner if lent.point is None else world.spots[lent.point].owner
        new = NewShare(
            point=None if lent.point is None else world.spots[lent.point].id,
            organization=world.places[owner].id if lent.point is None else None,
            to=world.path(lent.to),
            purpose="x",
            starts_at=now() + lent.when * 2 * HOUR - HOUR,
            ends_at=now() + (1 + max(0, lent.when) * 2) * HOUR,
            ptz=lent.ptz,
        )
        made = shares.create(self.connection, SYSTEM, new)
        if lent.when < 0:
            at = now()
            over = update(SHARES).where(SHARES.c.id == made.id)
            self.connection.execute(over.values(starts_at=at - HOUR, ends_at=at))
        world.lent.append(dataclasses.replace(lent, owner=owner))

    def assign(self, number: int, target: int | None) -> None:
        world, spot = self.world, self.world.spots[number]
        place = world.places[target].id if target is not None else None
        points.assign(self.connection, SYSTEM, [spot.id], place)
        if target is None:
            world.own(number, *world.decide(spot))
            return
        if spot.home not in world.above(target):
            spot.home = target
        world.own(number, target, "explicit")

    def jurisdiction(self, index: int, box: Box | None) -> None:
        place = self.world.places[index]
        document = box.document if box else None
        organizations.set_jurisdiction(self.connection, SYSTEM, place.id, document)
        place.box = box

    def partition(self, index: int) -> None:
        world = self.world
        plan = repartition.plan(self.connection, SYSTEM, world.places[index].id)
        repartition.apply(self.connection, SYSTEM, plan)
        for number, spot in enumerate(world.spots):
            if index in world.above(spot.home) and spot.by != "explicit":
                world.own(number, *world.decide(spot))

    def move(self, index: int, parent: int | None, slug: str) -> None:
        world = self.world
        above = world.places[parent].id if parent is not None else None
        moved = world.places[index]
        reshaping.move(self.connection, SYSTEM, moved.id, parent=above, slug=slug)
        moved.parent, moved.slug = parent, slug
        for spot in world.spots:
            inside = index in world.above(spot.owner)
            kept = spot.home in world.above(index) or index in world.above(spot.home)
            if inside and not kept:
                spot.home = index

    def act(self) -> None:
        for verb, *details in self.world.steps:
            savepoint = self.connection.begin_nested()
            try:
                getattr(self, verb)(*details)
                savepoint.commit()
            except (Invalid, Conflict):
                savepoint.rollback()

    def principals(self) -> list[Principal | None]:
        found = []
        for number, person in enumerate(self.world.people):
            roles = tuple(
                NewRole(
                    role=role,
                    organization=self.world.places[at].id,
                    purpose="x",
                    ends_at=now() + (-HOUR if over else HOUR) if role == "clear_view" else None,
                )
                for role, at, over in person.roles
            )
            new = NewUser(
                name=f"u{number}", password_hash="x", roles=roles, disabled=person.disabled
            )
            user = users.create(self.connection, SYSTEM, new)
            # Written once for each role and place: the last of two counts.
            last = {(role, at): over for role, at, over in person.roles}
            person.roles = [(role, at, over) for (role, at), over in last.items()]
            found.append(users.principal_of(self.connection, user.id))
        return found

    # --- what is shown --------------------------------------------------------------------------

    def check_owners(self) -> None:
        world = self.world
        stored = points.get_many(self.connection, SYSTEM, [each.id for each in world.spots])
        assert [(each.organization.id, each.assigned_by) for each in stored] == [
            (world.places[each.owner].id, each.by) for each in world.spots
        ]
        none = point_lists.page(self.connection, SYSTEM, PointFilter(assigned_by="none"), limit=500)
        unassigned = {each.id for each in world.spots if each.by == "none"}
        assert {each.id for each in none.items} == unassigned
        assert all(each.organization.id == each.home_id for each in none.items)
        counts = organizations.counts(self.connection, SYSTEM)
        for index in range(len(world.places)):
            below = [each for each in world.spots if index in world.above(each.owner)]
            counted = counts.get(world.path(index), Counts())
            assert counted.points == len(below)
            assert counted.unassigned == sum(each.by == "none" for each in below)

    def check_points(self, person: Person, who: Principal) -> None:
        world, connection = self.world, self.connection
        for roles, words in (
            (SEE_POINTS, POINTS_TOO),
            (SEE_PICTURES, PICTURES),
            (SEE_DEVICES, frozenset({"integrator", "admin"})),
        ):
            expected, found = {}, {}
            for number, spot in enumerate(world.spots):
                lent = world.by_share(person, spot.owner, number)
                if ("viewer" in words and lent) or world.has(person, words, spot.owner):
                    shared = lent and not world.has(person, PICTURES, spot.owner)
                    expected[spot.id] = any(each.ptz for each in lent) if shared else None
                with contextlib.suppress(NotFound):
                    one = points.get(connection, who, spot.id, roles)
                    found[one.id] = one.shared.ptz if one.shared else None
            assert found == expected, words
            if roles == SEE_POINTS:
                listed = point_lists.page(connection, who, limit=500)
                in_list = {
                    each.id: each.shared.ptz if each.shared else None for each in listed.items
                }
                assert in_list == expected
                assert listed.total == len(expected)
        counts = organizations.counts(connection, who)
        own = [each for each in world.spots if world.has(person, POINTS_TOO, each.owner)]
        for index in range(len(world.places)):
            below = sum(index in world.above(each.owner) for each in own)
            assert counts.get(world.path(index), Counts()).points == below

    def check_channels(self, person: Person, who: Principal) -> None:
        world = self.world
        expected, found = {}, {}
        for channel_id, owner in zip(self.channel_ids, world.channels, strict=True):
            own = world.has(person, POINTS_TOO, owner)
            lent = world.by_share(person, owner, None)
            if own or lent:
                expected[channel_id] = not own
            with contextlib.suppress(NotFound):
                one = channels.get(self.connection, who, channel_id)
                found[one.id] = one.shared is not None
        assert found == expected
        listed = channels.page(self.connection, who, limit=500)
        assert {each.id: each.shared is not None for each in listed.items} == expected
        assert listed.total == len(expected)

    def check_shown(self, person: Person, who: Principal) -> None:
        """What the event stream goes by, and what a list may be narrowed to."""
        world, at = self.world, now()
        if who.may({Role.VIEWER, Role.DISPATCHER, Role.ADMIN}, ""):
            return
        shown = shares.shown(self.connection, who)
        for number, spot in enumerate(world.spots):
            lent = world.by_share(person, spot.owner, number)
            assert shown.covers(world.path(spot.owner), spot.id, at) is bool(lent)
        for index in range(len(world.places)):
            path = world.path(index)
            assert shown.covers(path, None, at) is bool(world.by_share(person, index, None))
            lent = [
                each
                for number in (None, *range(len(world.spots)))
                for each in world.by_share(person, index, number)
                if number is None or world.spots[number].owner == index
            ]
            named = bool(lent) or world.has(person, POINTS_TOO, index)
            with contextlib.ExitStack() as stack:
                if not named:
                    stack.enter_context(_refused())
                found = organizations.get_shown(self.connection, who, path)
                assert found.id == world.places[index].id
                self.check_narrowed(person, who, index)

    def check_narrowed(self, person: Person, who: Principal, index: int) -> None:
        """Lists of an organisation and of those below it."""
        world, path = self.world, self.world.path(index)
        seen = {
            spot.id
            for number, spot in enumerate(world.spots)
            if index in world.above(spot.owner)
            and (
                world.has(person, POINTS_TOO, spot.owner)
                or world.by_share(person, spot.owner, number)
            )
        }
        listed = point_lists.page(self.connection, who, PointFilter(organization=path), limit=500)
        assert ({each.id for each in listed.items}, listed.total) == (seen, len(seen))
        heard = {
            channel_id
            for channel_id, owner in zip(self.channel_ids, world.channels, strict=True)
            if index in world.above(owner)
            and (world.has(person, POINTS_TOO, owner) or world.by_share(person, owner, None))
        }
        told = channels.page(self.connection, who, organization=path, limit=500)
        assert ({each.id for each in told.items}, told.total) == (heard, len(heard))


RICH = World(
    places=[
        Place("a", None, Box(0, 0, 6, holed=False)),
        Place("b", 0, Box(0, 0, 3, holed=False)),
        Place("a0", None, None),
        Place("a-b", None, None),
        Place("b", None, None),
        Place("ab", 0, None),
    ],
    spots=[
        Spot(0, (1, 1), explicit=False),
        Spot(0, (5, 5), explicit=False),
        Spot(2, None, explicit=True),
        Spot(3, (7, 7), explicit=False),
    ],
    channels=[0, 1, 2, 3, 5],
    people=[
        Person([("viewer", 4, False)], disabled=False),
        Person([("dispatcher", 1, False), ("integrator", 0, False)], disabled=False),
        Person([("auditor", 0, False), ("clear_view", 1, True)], disabled=False),
        Person([("admin", 0, False)], disabled=True),
    ],
    steps=[
        ("share", Lent(owner=0, point=None, to=4, when=0, ptz=False)),
        ("share", Lent(owner=2, point=2, to=4, when=1, ptz=True)),
        # It comes back to its owner, and the share of it does not.
        ("share", Lent(owner=2, point=2, to=4, when=0, ptz=True)),
        ("assign", 2, 3),
        ("assign", 2, 2),
        ("share", Lent(owner=3, point=None, to=1, when=-1, ptz=True)),
        ("share", Lent(owner=3, point=3, to=1, when=0, ptz=True)),
        # What was given to b by polygon goes with it, and finds its home there.
        ("move", 1, 3, "z9"),
        ("assign", 0, None),
        ("partition", 0),
    ],
)
"""A case in which each rule decides something; the others are drawn."""


@contextlib.contextmanager
def _refused() -> Any:
    try:
        yield
    except NotFound:
        return
    raise AssertionError("this should have been refused")


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(world=worlds())
@example(world=RICH)
def test_sql_shows_exactly_what_a_reading_of_the_rules_gives(
    registry: Registry, world: World
) -> None:
    drawn = world

    def run(connection: Any) -> None:
        # Drawn once, done twice where Hypothesis looks for a smaller case.
        world = copy.deepcopy(drawn)
        acting = Acting(connection, world)
        acting.build()
        acting.act()
        acting.check_owners()
        for person, who in zip(world.people, acting.principals(), strict=True):
            assert (who is None) is person.disabled
            if who is None:
                assert shares.shown(connection, Principal(user_id="", name="")) == Shown()
                continue
            acting.check_points(person, who)
            acting.check_channels(person, who)
            acting.check_shown(person, who)

    registry.undone(run)
