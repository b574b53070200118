"""Polygons: what is accepted, and whose a point is."""

import itertools
import math

import pytest
from databases import square
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import Point
from shapely.geometry import box

from registry.errors import Invalid
from registry.jurisdictions import Jurisdiction, Jurisdictions, area_m2, read_geometry


def jurisdiction(path: str, west: float, south: float, side: float) -> Jurisdiction:
    geometry = read_geometry(square(west, south, side))
    return Jurisdiction(
        organization_id=path,
        path=path,
        depth=path.count("/") + 1,
        area_m2=area_m2(geometry),
        geometry=geometry,
    )


def owner(table: Jurisdictions, longitude_deg: float, latitude_deg: float) -> str | None:
    found = table.owner(longitude_deg, latitude_deg)
    assert table.owners([longitude_deg], [latitude_deg]) == [found]
    return found.path if found else None


def test_the_deepest_wins_then_the_smaller_then_the_smaller_path() -> None:
    table = Jurisdictions(
        [
            jurisdiction("d", 0, 0, 20),
            jurisdiction("d/a", 0, 0, 10),
            jurisdiction("d/b", 0, 0, 5),
            jurisdiction("d/a/x", 8, 8, 2),
            jurisdiction("d/twin", 10, 10, 3),
            jurisdiction("d/same", 10, 10, 3),
        ]
    )
    assert owner(table, 15, 1) == "d"
    assert owner(table, 7, 7) == "d/a"
    assert owner(table, 1, 1) == "d/b"
    assert owner(table, 9, 9) == "d/a/x"
    assert owner(table, 11, 11) == "d/same"
    assert owner(table, 50, 50) is None


def test_a_border_belongs_to_both_sides_so_the_rule_decides() -> None:
    table = Jurisdictions([jurisdiction("d/b", 0, 0, 5), jurisdiction("d/a", 5, 0, 5)])
    assert owner(table, 5, 2) == "d/a"
    assert owner(table, 5, 5) == "d/a"
    assert owner(table, 4.999999, 2) == "d/b"
    assert owner(table, 0, 0) == "d/b"


def test_a_hole_is_outside() -> None:
    ring, hole = square(0, 0, 10)["coordinates"][0], square(4, 4, 2)["coordinates"][0]
    geometry = read_geometry({"type": "Polygon", "coordinates": [ring, hole]})
    table = Jurisdictions(
        [Jurisdiction(organization_id="x", path="x", depth=1, area_m2=1, geometry=geometry)]
    )
    assert owner(table, 5, 5) is None
    assert owner(table, 4, 5) == "x"
    assert owner(table, 1, 1) == "x"


SIDES = st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(1, 6))
PATHS = ("a", "b", "a/x", "a/y", "b/x", "a/x/1", "a/x/2")


@settings(deadline=None)
@given(
    sides=st.lists(SIDES, min_size=len(PATHS), max_size=len(PATHS)),
    how_many=st.integers(0, len(PATHS)),
    position=st.tuples(st.integers(-1, 13), st.integers(-1, 13)),
)
def test_the_rule_read_aloud(
    sides: list[tuple[int, int, int]], how_many: int, position: tuple[int, int]
) -> None:
    given_ones = [jurisdiction(path, *side) for path, side in zip(PATHS, sides, strict=True)][
        :how_many
    ]
    covering = [each for each in given_ones if each.geometry.covers(Point(*position))]
    deepest = [each for each in covering if each.depth == max(e.depth for e in covering)]
    smallest = [each for each in deepest if each.area_m2 == min(e.area_m2 for e in deepest)]
    expected = min((each.path for each in smallest), default=None)
    for order in itertools.islice(itertools.permutations(given_ones), 6):
        assert owner(Jurisdictions(order), *position) == expected


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"type": "Point", "coordinates": [1, 2]}, "must be Polygon or MultiPolygon"),
        ({"type": "Polygon"}, "rings"),
        ({"type": "Polygon", "coordinates": "x"}, "rings"),
        ({"type": "Polygon", "coordinates": []}, "4 to 100000"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "four"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, "a"], [1, 1], [0, 0]]]}, "four"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]]}, "Self"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [2, 0], [0, 0]]]}, "not a valid"),
        (square(179, 0, 5), r"position 2 is \[184.0, 0.0\]"),
        (square(0, 86, 5), "latitude within"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [math.nan, 0], [1, 1], [0, 0]]]}, "position"),
    ],
)
def test_what_is_no_jurisdiction_says_why(document: dict[str, object], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        read_geometry(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5),
    max_leaves=30,
)


@settings(deadline=None)
@given(kind=st.sampled_from(["Polygon", "MultiPolygon"]), coordinates=JSON)
def test_any_coordinates_are_read_or_refused(kind: str, coordinates: object) -> None:
    try:
        geometry = read_geometry({"type": kind, "coordinates": coordinates})
    except Invalid as refused:
        assert refused.reasons
    else:
        assert geometry.is_valid


def test_the_area_is_that_of_the_sphere() -> None:
    radius_m = 6_371_008.8
    band = 2 * math.pi * radius_m**2 * math.sin(math.radians(30)) / 360
    assert area_m2(box(0, 0, 1, 30)) == pytest.approx(band, rel=1e-9)
    assert area_m2(box(0, 59, 1, 60)) < area_m2(box(0, 0, 1, 1)) * 0.52
