"""Units from files: who a row means, what it changes, why it is refused; on both databases."""

from pathlib import Path
from typing import Any

import openpyxl
import pytest
from databases import ON_SQLITE, Registry
from test_registry_radio import district, somebody, trunk

from registry import changes, organizations, systems, unit_import, units
from registry.errors import Forbidden, Invalid
from registry.exchange.records import FileRefused
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Role
from registry.systems import NewSystem, System
from registry.unit_file import TEXTS, read_units
from registry.unit_import import UnitReport
from registry.units import NewUnit, Unit, UnitAddress

pytest_plugins = ["databases"]
__all__ = ["district", "trunk"]
INTEGRATOR = somebody(Role.INTEGRATOR, "d")


@pytest.fixture
def ptt(district: Registry) -> System:
    new = NewSystem(adapter="zello", name="公网对讲", organization="d", settings={})
    return district(systems.create, SYSTEM, new)


def put(
    registry: Registry, folder: Path, text: str, who: Any = INTEGRATOR, **options: Any
) -> UnitReport:
    path = folder / "units.csv"
    path.write_text(text, encoding=options.pop("encoding", "utf-8"))
    seen = registry(unit_import.systems_seen, who)
    file = read_units(path, "csv", seen)
    into = options.pop("into", "d")
    report: UnitReport = registry(unit_import.import_units, who, file, into, **options)
    return report


def shown(registry: Registry) -> dict[str, tuple[Any, ...]]:
    names = {each.id: each.name for each in registry(systems.page, SYSTEM).items}

    def said(unit: Unit) -> tuple[Any, ...]:
        addresses = sorted((names[a.system_id], a.address) for a in unit.addresses)
        return unit.organization.path, unit.priority, addresses

    return {each.alias: said(each) for each in registry(units.page, SYSTEM, limit=500).items}


def reasons(report: UnitReport) -> list[tuple[int, str, str]]:
    return [(each.row, each.column, each.reason) for each in report.refusals]


def test_people_with_their_addresses_on_each_system_and_again_without_a_change(
    district: Registry, trunk: System, ptt: System, tmp_path: Path
) -> None:
    text = "姓名,组织,优先级,trunk,公网对讲\n张伟,s1,7,3101001;3101009,zhang\n李娜,,,,li.na\n"
    report = put(district, tmp_path, text, encoding="gb18030")
    assert (report.applied, report.rows, report.created) == (True, 2, 2)
    everybody = {
        "张伟": (
            "d/s1",
            7,
            [("trunk", "3101001"), ("trunk", "3101009"), ("公网对讲", "zhang")],
        ),
        "李娜": ("d", 0, [("公网对讲", "li.na")]),
    }
    assert shown(district) == everybody
    assert len(district(units.every)) == 2
    noted = [each for each in district(changes.page, SYSTEM).items if each.kind == "unit"]
    assert {(e.action, e.organization_path) for e in noted} == {("create", "d/s1"), ("create", "d")}
    assert {each.user_name for each in noted} == {"somebody"}
    again = put(district, tmp_path, text)
    assert (again.created, again.updated, again.unchanged) == (0, 0, 2)
    assert shown(district) == everybody


def test_a_row_changes_the_unit_that_has_its_address_and_leaves_what_it_does_not_say(
    district: Registry, trunk: System, ptt: System, tmp_path: Path
) -> None:
    addresses = (
        UnitAddress(system_id=trunk.id, address="1"),
        UnitAddress(system_id=ptt.id, address="w"),
    )
    new = NewUnit(alias="Wang", organization="d/s1", priority=3, addresses=addresses)
    unit = district(units.create, SYSTEM, new)
    report = put(district, tmp_path, f"alias,priority,{trunk.id}\nWang Wu,,1;2\n")
    assert (report.updated, report.created) == (1, 0)
    assert shown(district) == {
        "Wang Wu": ("d/s1", 3, [("trunk", "1"), ("trunk", "2"), ("公网对讲", "w")])
    }
    assert district(units.get, SYSTEM, unit.id).version == unit.version + 1
    # By its id alone another address takes the place of all on that system.
    report = put(district, tmp_path, f"id,name,trunk\n{unit.id},,9\n")
    assert report.updated == 1
    assert shown(district)["Wang Wu"][2] == [("trunk", "9"), ("公网对讲", "w")]
    last = next(e for e in district(changes.page, SYSTEM).items if e.action == "update")
    assert "addresses" in last.details


def test_all_or_nothing_or_the_good_rows_with_every_reason(
    district: Registry, trunk: System, tmp_path: Path
) -> None:
    text = (
        "alias,organization,priority,trunk\n"
        "Good,,,1\n"
        ",,,2\n"
        "Nowhere,s9,,3\n"
        "Loud,,255,4\n"
        "Again,,,5;1\n"
        "Silent,,,\n"
        f"{'x' * 201},,,6\n"
    )
    wrong = [
        (3, "alias", "missing"),
        (4, "organization", "no_such_organization"),
        (5, "priority", "not_priority"),
        (6, "trunk", "twice"),
        (7, "alias", "without_address"),
        (8, "alias", "too_long"),
    ]
    for options in ({}, {"dry_run": True}):
        report = put(district, tmp_path, text, **options)
        assert (report.applied, report.refused, reasons(report)) == (False, 6, wrong)
        assert shown(district) == {}
    report = put(district, tmp_path, text, partial=True)
    assert (report.applied, report.created, report.rows) == (True, 1, 7)
    assert list(shown(district)) == ["Good"]
    assert all(each.text(language) for each in report.refusals for language in ("en", "zh"))
    assert all(len(set(pair)) == 2 for pair in TEXTS.values())


def test_what_is_another_units_stays_theirs(
    district: Registry, trunk: System, tmp_path: Path
) -> None:
    district(
        organizations.create,
        SYSTEM,
        NewOrganization(kind="station", name="s2", slug="s2", parent="d"),
    )
    ids = {}
    for name, path in (("a", "d/s1"), ("b", "d/s1"), ("c", "d/s2")):
        own = (UnitAddress(system_id=trunk.id, address=name),)
        new = NewUnit(alias=name, organization=path, addresses=own)
        ids[name] = district(units.create, SYSTEM, new).id
    before = shown(district)
    # A system of the district is seen from below by nobody, so one of the station's own.
    own = NewSystem(adapter="homebrew", name="own", organization="d/s1", settings={})
    made = district(systems.create, SYSTEM, own)
    station = somebody(Role.INTEGRATOR, "d/s1")
    assert district(unit_import.systems_seen, station) == ((made.id, "own"),)
    rows = f"alias,organization,id,trunk\nx,,,a;b\ny,s2,,a\nz,,{ids['a']},\nq,,{ids['a']},\n"
    report = put(district, tmp_path, rows, partial=True)
    assert reasons(report) == [
        (2, "trunk", "two_units"),
        (3, "trunk", "twice"),
        (5, "alias", "same_unit"),
    ]
    assert set(shown(district)) == {"z", "b", "c"}
    report = put(district, tmp_path, "alias,organization,trunk\nmoved,s2,b\n")
    assert reasons(report) == [(2, "organization", "moves")]
    taken = f"alias,id,own\nmine,{ids['c']},1\n"
    report = put(district, tmp_path, taken, station, into="d/s1")
    assert reasons(report) == [(2, "id", "no_such_unit")]
    assert shown(district)["c"] == before["c"]
    with pytest.raises(Forbidden):
        put(district, tmp_path, "alias,trunk\nx,77\n", somebody(Role.DISPATCHER, "d"))


@ON_SQLITE
def test_files_that_say_too_little_are_refused(
    district: Registry, trunk: System, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match="no column is headed by"):
        put(district, tmp_path, "alias,organization\nx,d\n")
    district(
        systems.create,
        SYSTEM,
        NewSystem(adapter="homebrew", name="Trunk", organization="d/s1", settings={}),
    )
    with pytest.raises(Invalid, match="two systems are named trunk"):
        put(district, tmp_path, "name,trunk\nx,1\n")
    report = put(district, tmp_path, f"name,{trunk.id},colour\nx,1,red\n")
    assert (report.created, report.ignored_columns) == (1, ("colour",))
    with pytest.raises(FileRefused):
        put(district, tmp_path, "who,what\n1,2\n")


@ON_SQLITE
def test_a_workbook_with_numbers_for_addresses(
    district: Registry, trunk: System, tmp_path: Path
) -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in (["名称", "优先级", "trunk"], ["张伟", 7.0, 3101001], ["李娜", None, "=1+1"]):
        sheet.append(row)
    book.save(tmp_path / "units.xlsx")
    seen = district(unit_import.systems_seen, INTEGRATOR)
    file = read_units(tmp_path / "units.xlsx", "xlsx", seen)
    report = district(unit_import.import_units, INTEGRATOR, file, "d", partial=True)
    assert reasons(report) == [(3, "trunk", "unreadable")]
    assert shown(district) == {"张伟": ("d", 7, [("trunk", "3101001")])}
