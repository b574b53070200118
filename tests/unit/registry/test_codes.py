"""20-digit codes: reading, checking, and issuing them on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from databases import Registry
from hypothesis import given
from hypothesis import strategies as st

from registry import codes, issuing, organizations, points
from registry.codes import InvalidCode, PointCode, check_point_code, parse_point_code
from registry.errors import Conflict, Invalid
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.points import NewPoint
from registry.regions import full_name, regions

pytest_plugins = ["databases"]

CODE = "21010200001320000001"
FIRST = parse_point_code(CODE)


def test_a_code_is_split_into_its_parts() -> None:
    assert parse_point_code(f"  {CODE}\n") == PointCode(
        region="210102", grassroots="00", industry="00", type="132", network="0", serial=1
    )


@given(st.from_regex(r"[0-9]{20}", fullmatch=True))
def test_what_is_read_is_written_the_same(text: str) -> None:
    assert str(parse_point_code(text)) == text


@given(st.text())
def test_any_text_is_a_code_or_says_where_it_is_none(text: str) -> None:
    try:
        code = parse_point_code(text)
    except InvalidCode as refused:
        assert 1 <= refused.position <= 21
    else:
        assert str(code) == text.strip()


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 1),
        ("2101020000132000000", 20),
        ("210102000013200000011", 21),
        ("2101020000132000000x", 20),
        ("２1010200001320000001", 1),
    ],
)
def test_the_first_offending_position_is_named(text: str, position: int) -> None:
    with pytest.raises(InvalidCode) as refused:
        parse_point_code(text)
    assert refused.value.position == position


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("99010200001320000001", 1),
        ("21990200001320000001", 3),
        ("21019900001320000001", 5),
        ("21010200991320000001", 9),
        ("21010200009990000001", 11),
    ],
)
def test_parts_that_the_standards_do_not_know_are_refused(text: str, position: int) -> None:
    with pytest.raises(InvalidCode) as refused:
        check_point_code(text)
    assert refused.value.position == position


def test_the_regions_of_gb_t_2260() -> None:
    assert full_name("210102") == "辽宁省沈阳市和平区"
    assert full_name("441900") == "广东省东莞市"
    assert full_name("999999") is None
    counties = [each for each in regions().values() if each.is_county and each.current]
    assert 2800 < len(counties) < 3100
    abolished = regions()["330103"]
    assert (abolished.name, abolished.current) == ("下城区", False)


@pytest.fixture
def district(registry: Registry) -> Registry:
    for kind, parent, slug, region in (
        ("district", None, "d", "210102"),
        ("station", "d", "s", None),
        ("district", None, "nowhere", None),
    ):
        new = NewOrganization(kind=kind, name=slug, slug=slug, parent=parent, region=region)
        registry(organizations.create, SYSTEM, new)
    return registry


def add(registry: Registry, organization: str = "d/s", code: str | None = None) -> str:
    new = NewPoint(organization=organization, name="p", code=code)
    return registry(points.create, SYSTEM, new).id


def test_codes_follow_the_highest_in_use(district: Registry) -> None:
    assert [each.serial for each in district(codes.issue, FIRST, 3)] == [1, 2, 3]
    add(district, code="21010200001320000041")
    add(district, code="21010200001310000077")
    assert [each.serial for each in district(codes.issue, FIRST, 2)] == [42, 43]


def test_past_the_last_serial_the_gaps_are_used(district: Registry) -> None:
    for serial in (1, 3, 999_999):
        add(district, code=f"{FIRST.prefix}{serial:06d}")
    assert [each.serial for each in district(codes.issue, FIRST, 3)] == [2, 4, 5]
    late = parse_point_code(f"{FIRST.prefix}999990")
    with pytest.raises(Conflict, match="only 9 serials are left"):
        district(codes.issue, late, 10)


def test_a_point_is_given_the_code_of_its_owners_region(district: Registry) -> None:
    point = district(issuing.give_code, SYSTEM, add(district))
    assert point.code == CODE
    with pytest.raises(Conflict):
        district(issuing.give_code, SYSTEM, point.id)
    with pytest.raises(Invalid):
        district(issuing.give_code, SYSTEM, add(district, "nowhere"))


def test_no_two_writers_are_given_the_same_code(district: Registry) -> None:
    ids = [add(district) for _ in range(12)]
    together = threading.Barrier(4)

    def one(mine: list[str]) -> list[str | None]:
        together.wait(10)
        return [district(issuing.give_code, SYSTEM, each).code for each in mine]

    with ThreadPoolExecutor(4) as pool:
        given = [code for some in pool.map(one, [ids[i::4] for i in range(4)]) for code in some]
    assert sorted(map(str, given)) == [f"{FIRST.prefix}{serial:06d}" for serial in range(1, 13)]
