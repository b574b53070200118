"""One machine, one file: what its attributes may hold, and which points lack what."""

from typing import Any

import pytest
from databases import Registry

from registry import organizations, points
from registry.completeness import MANDATORY, completeness
from registry.errors import Invalid
from registry.machine_file import ATTRIBUTES, attribute_reasons
from registry.organizations import NewOrganization
from registry.partition import SYSTEM
from registry.points import NewPoint

pytest_plugins = ["databases"]

WHOLE: dict[str, Any] = {
    "manufacturer": "海康",
    "region": "210102",
    "position_types": [1, 5],
    "network": 0,
    "police_unit": "210102000000",
    "installed_on": "2024-05-01",
    "managed_by": "街道办",
    "manager_contact": "024-12345678",
    "storage_days": 30,
    "device_state": 1,
}


def test_there_are_sixteen() -> None:
    assert len(MANDATORY) == 16
    assert attribute_reasons(WHOLE) == []
    assert attribute_reasons(dict.fromkeys(ATTRIBUTES)) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("manufacturer", 7),
        ("region", "999999"),
        ("position_types", [16]),
        ("position_types", 1),
        ("network", True),
        ("installed_on", "2024-02-30"),
        ("storage_days", 1.5),
        ("height_m", "4"),
        ("mac", "00:00:00:00:00:00"),
    ],
)
def test_the_known_ones_hold_nothing_else(name: str, value: object) -> None:
    assert [each.field for each in attribute_reasons({name: value})] == [f"attributes.{name}"]


def test_who_lacks_what(registry: Registry) -> None:
    registry(organizations.create, SYSTEM, NewOrganization(kind="district", name="d", slug="d"))

    def add(**values: Any) -> str:
        new = NewPoint(organization="d", **values)
        return registry(points.create, SYSTEM, new).id

    position = {"longitude": 123.4, "latitude": 41.8}
    add(name="a", code="21010200001320000001", place="x", attributes=WHOLE, **position)
    bare = add(name="b")
    short = add(
        name="c",
        code="21010200001320000002",
        place="x",
        attributes={**WHOLE, "position_types": [], "managed_by": None, "police_unit": ""},
        **position,
    )
    with pytest.raises(Invalid):
        add(name="e", attributes={"network": 2})
    report = registry(completeness, SYSTEM, "d")
    assert (report.points, report.complete) == (3, 1)
    assert report.lacking["name"] == 0
    assert report.lacking["code"] == 1
    assert report.lacking["managed_by"] == 2
    found = {each.point_id: set(each.lacking) for each in report.incomplete}
    assert found == {
        bare: set(MANDATORY) - {"name", "category"},
        short: {"position_types", "managed_by", "police_unit"},
    }
    first = registry(completeness, SYSTEM, "d", limit=1)
    rest = registry(completeness, SYSTEM, "d", limit=1, after=first.next)
    assert [each.point_id for each in first.incomplete + rest.incomplete] == [bare, short]
