"""Files into the registry and out again, on both databases."""

import csv
import io
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from databases import ON_SQLITE, Registry, square
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from registry import changes, organizations, points, shares
from registry.database import Database
from registry.errors import DatabaseAway
from registry.exchange.exporting import csv_lines, exported, geojson_pieces, row_of, write_xlsx
from registry.exchange.files import FORMATS, Format
from registry.exchange.importing import ImportReport, run_import
from registry.exchange.records import FileRefused
from registry.exchange.staging import Staging
from registry.identity import now
from registry.machine_file import ATTRIBUTES
from registry.organizations import NewOrganization
from registry.partition import SYSTEM, Grant, Principal, Role
from registry.point_lists import PointFilter
from registry.points import NewPoint, Point

pytest_plugins = ["databases"]

CODE, OTHER = "21010200001320000001", "21010200001320000002"
Import = Callable[..., tuple[ImportReport, list[tuple[int, str, str]]]]


@pytest.fixture
def district(registry: Registry) -> Registry:
    """d ⊃ s1 (0..10) ⊃ w1 (0..5); d ⊃ s2 (20..30)."""
    for kind, parent, slug, jurisdiction in (
        ("district", None, "d", None),
        ("station", "d", "s1", square(0, 0, 10)),
        ("station", "d", "s2", square(20, 0, 10)),
        ("workroom", "d/s1", "w1", square(0, 0, 5)),
    ):
        new = NewOrganization(
            kind=kind, name=f"{slug}所", slug=slug, parent=parent, jurisdiction=jurisdiction
        )
        registry(organizations.create, SYSTEM, new)
    return registry


@pytest.fixture
def load(district: Registry, tmp_path: Path) -> Import:
    """Imports text or bytes; gives the report and (row, field, reason) of each refusal."""

    def run(
        content: str | bytes,
        organization: str = "d",
        principal: Principal = SYSTEM,
        kind: Format = "csv",
        system: Any = None,
        **options: Any,
    ) -> tuple[ImportReport, list[tuple[int, str, str]]]:
        path = tmp_path / f"import.{kind}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        staging = Staging(tmp_path / "staging.db")
        try:
            staging.fill(path, kind, system)
            report = run_import(district.database, principal, staging, organization, **options)
            refused = [
                (row.row, each.field, each.reason)
                for row in staging.refused()
                for each in row.refusals
            ]
        finally:
            staging.close()
        return report, refused

    return run


def everything(registry: Registry) -> list[Point]:
    return list(exported(registry.database, SYSTEM))


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.created, report.updated, report.unchanged, report.refused


def add(registry: Registry, organization: str = "d", **values: Any) -> Point:
    return registry(points.create, SYSTEM, NewPoint(organization=organization, **values))


def test_rows_become_points_of_whoever_has_the_polygon(district: Registry, load: Import) -> None:
    text = (
        "SBMC,SBBM,AZDZ,JD,WD,JKDWLX,IPV4,通道号,LXBCTS\n"
        f"一,{CODE},路,1,1,2,10.0.0.9,3,30\n二,,,7,7,,,,\n三,,,15,5,,,,\n四,,,,,,,,\n"
    )
    report, refused = load(text)
    assert refused == []
    assert (report.applied, *counts(report)) == (True, 4, 0, 0, 0)
    one, *others = everything(district)
    assert (one.name, one.code, one.place, one.category) == ("一", CODE, "路", 2)
    assert (one.host, one.channel_number, one.attributes) == ("10.0.0.9", 3, {"storage_days": 30})
    assert [(each.organization.path, each.assigned_by) for each in (one, *others)] == [
        ("d/s1/w1", "polygon"),
        ("d/s1", "polygon"),
        ("d", "none"),
        ("d", "none"),
    ]
    assert {each.home_id for each in (one, *others)} == {others[-1].organization.id}
    written = district(changes.page, SYSTEM, kind="point")
    assert [each.action for each in written.items] == ["create"] * 4
    again, refused = load(text)
    assert refused == []
    assert counts(again) == (0, 0, 4, 0)
    assert not again.applied
    assert [each.version for each in everything(district)] == [1] * 4


def test_rows_of_a_station_are_its_own(district: Registry, load: Import) -> None:
    load("name,longitude,latitude,organization\na,1,1,\nb,1,1,w1\nc,25,5,w1所\n", "d/s1")
    assert [(p.organization.path, p.assigned_by) for p in everything(district)] == [
        ("d/s1", "explicit"),
        ("d/s1/w1", "explicit"),
        ("d/s1/w1", "explicit"),
    ]


def test_identity_id_then_code_then_name_and_place(district: Registry, load: Import) -> None:
    by_id = add(district, name="a", place="x")
    by_code = add(district, name="b", place="x", code=CODE)
    by_name = add(district, name="c", place="x", longitude=1, latitude=1)
    adopted = add(district, name="e", place="x")
    report, refused = load(
        "id,code,name,place,channel\n"
        f"{by_id.id},,A,,1\n,{CODE},B,y,2\n,,c,x,3\n,{OTHER},e,x,4\n,,c,y,5\n"
    )
    assert refused == []
    assert counts(report) == (1, 4, 0, 0)
    found = {p.id: (p.name, p.place, p.code, p.channel_number) for p in everything(district)}
    assert found[by_id.id] == ("A", "x", None, 1)
    assert found[by_code.id] == ("B", "y", CODE, 2)
    assert found[by_name.id] == ("c", "x", None, 3)
    assert found[adopted.id] == ("e", "x", OTHER, 4)


def test_a_code_never_adopts_a_point_with_another(district: Registry, load: Import) -> None:
    add(district, name="a", place="x", code=CODE)
    report, _ = load(f"code,name,place\n{OTHER},a,x\n")
    assert counts(report) == (1, 0, 0, 0)


def test_what_nobody_can_tell_apart_is_refused(district: Registry, load: Import) -> None:
    for _ in range(2):
        add(district, name="a", place="x")
    add(district, name="b", place="x")
    report, refused = load(
        f"code,name,place\n,a,x\n,c,\n,c,\n{CODE},e,\n{CODE},f,\n21010200001320000008,b,x\n,b,x\n",
        partial=True,
    )
    assert refused == [
        (2, "name", "ambiguous"),
        (3, "name", "twice"),
        (4, "name", "twice"),
        (5, "code", "twice"),
        (6, "code", "twice"),
        (7, "row", "claimed"),
        (8, "row", "claimed"),
    ]
    assert not report.applied
    assert len(everything(district)) == 3


def test_a_key_of_very_many_rows_names_a_few_of_them(district: Registry, load: Import) -> None:
    report, refused = load("name,place\n" + "a,x\n" * 30 + "b,x\n", partial=True)
    assert refused == [(row, "name", "twice") for row in range(2, 32)]
    assert counts(report) == (1, 0, 0, 30)


def test_all_or_nothing_unless_asked(district: Registry, load: Import) -> None:
    text = "name,longitude,latitude\na,1,1\n,2,2\nc,x,1\n"
    report, refused = load(text)
    assert refused == [(3, "name", "missing"), (4, "longitude", "not_a_number")]
    assert (report.applied, *counts(report)) == (False, 1, 0, 0, 2)
    assert everything(district) == []
    assert not load(text, partial=True, dry_run=True)[0].applied
    report, _ = load(text, partial=True)
    assert report.applied
    assert [each.name for each in everything(district)] == ["a"]


def test_a_cancelled_import_writes_nothing(district: Registry, load: Import) -> None:
    class Cancelled(Exception):
        pass

    def calls_until_done(limit: int) -> int:
        count = 0

        def keep_on() -> None:
            nonlocal count
            count += 1
            if count > limit:
                raise Cancelled

        load("name\na\nb\n", keep_on=keep_on)
        return count

    for limit in range(10):
        try:
            calls_until_done(limit)
        except Cancelled:
            assert everything(district) == []
        else:
            break
    assert limit > 2
    assert len(everything(district)) == 2


def test_what_is_written_meanwhile_is_seen(district: Registry, load: Import) -> None:
    mine = add(district, name="m", place="x")
    looks = 0

    def somebody_writes() -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            add(district, name="a", code=CODE)
            district(points.update, SYSTEM, mine.id, {"place": "y"})

    text = f"id,code,name,channel\n,{CODE},b,\n{mine.id},,,5\n"
    report, refused = load(text, after_look=somebody_writes)
    assert (refused, looks) == ([], 2)
    assert counts(report) == (0, 2, 0, 0)
    found = {
        point.id: (point.name, point.place, point.channel_number) for point in everything(district)
    }
    assert found.pop(mine.id) == ("m", "y", 5)
    assert list(found.values()) == [("b", "", None)]


def test_a_district_where_everybody_writes_is_looked_at_last_while_nobody_can(
    district: Registry, load: Import
) -> None:
    looks = 0

    def somebody_writes() -> None:
        nonlocal looks
        looks += 1
        if looks <= 3:
            add(district, name="z", place=str(looks))

    report, refused = load("name,place\nz,1\nz,9\n", after_look=somebody_writes)
    assert (refused, looks) == ([], 4)
    assert (report.applied, *counts(report)) == (True, 1, 0, 1, 0)


def test_what_ends_with_the_transaction_can_undo_it(district: Registry, load: Import) -> None:
    def refuse_it(connection: Any, report: ImportReport) -> None:
        assert (report.applied, report.created) == (True, 2)
        raise KeyError

    with pytest.raises(KeyError):
        load("name\na\nb\n", before_commit=refuse_it)
    assert everything(district) == []
    assert district(changes.page, SYSTEM, kind="point").items == ()


@ON_SQLITE
def test_other_writers_of_sqlite_wait_and_are_told_to_come_again(
    district: Registry, load: Import, database_url: str
) -> None:
    other = Database(database_url, busy_timeout_s=0.05)
    told: list[int] = []

    def write_too(_connection: Any, _report: ImportReport) -> None:
        new = NewPoint(organization="d", name="x")
        assert other.read_now(lambda c: organizations.get(c, SYSTEM, "d")).path == "d"
        with pytest.raises(DatabaseAway) as refused:
            other.write_now(lambda c: points.create(c, SYSTEM, new))
        told.append(refused.value.retry_after_s)

    try:
        report, _ = load("name\na\n", before_commit=write_too)
    finally:
        other.close_now()
    assert told == [2]
    assert report.write_lock_s >= 0.05
    # What was widened for the import is as before.
    cache = district.database.write_now(lambda c: c.exec_driver_sql("PRAGMA cache_size").scalar())
    assert cache == -16_000


@ON_SQLITE
def test_an_import_waits_for_another(district: Registry, load: Import, database_url: str) -> None:
    waiting = Database(database_url, busy_timeout_s=0.05)
    asked = 0

    def keep_on() -> None:
        nonlocal asked
        asked += 1

    def import_too(_connection: Any, _report: ImportReport) -> None:
        released = threading.Event()
        thread = threading.Thread(target=second, args=(released,))
        thread.start()
        threads.append(thread)
        released.wait(20)

    threads: list[threading.Thread] = []
    reports: list[ImportReport] = []

    def second(released: threading.Event) -> None:
        def keep_on_then_release() -> None:
            keep_on()
            if asked > 12:
                released.set()

        staging = Staging(folder / "second.db")
        try:
            staging.fill(folder / "second.csv", "csv", None)
            reports.append(run_import(waiting, SYSTEM, staging, "d", keep_on=keep_on_then_release))
        finally:
            released.set()
            staging.close()

    folder = Path(database_url.removeprefix("sqlite:///")).parent
    (folder / "second.csv").write_text("name\nb\n")
    try:
        load("name\na\n", before_commit=import_too)
        for thread in threads:
            thread.join(20)
    finally:
        waiting.close_now()
    assert asked > 12
    assert [each.applied for each in reports] == [True]
    assert {each.name for each in everything(district)} == {"a", "b"}


def integrator(path: str) -> Principal:
    return Principal(
        user_id="01890000-0000-7000-8000-000000000001",
        name="i",
        grants=(Grant(role=Role.INTEGRATOR, organization_id="", path=path),),
    )


def test_only_what_the_caller_may_write_is_changed(district: Registry, load: Import) -> None:
    hidden = add(district, "d/s2", name="h", code=CODE)
    mine = add(district, "d/s1", name="m")
    gone = "01890000-0000-7000-8000-00000000000f"
    _, refused = load(
        "id,code,name,masked,organization\n"
        f"{hidden.id},,x,,\n,{CODE},y,,\n{gone},,z,,\n{mine.id},,,1,\n,,new,,d/s2\n",
        "d/s1",
        integrator("d/s1"),
    )
    assert refused == [
        (2, "id", "no_such_point"),
        (3, "code", "code_in_use"),
        (4, "id", "no_such_point"),
        (5, "masked", "may_not_mask"),
        (6, "organization", "no_such_organization"),
    ]
    _, refused = load(f"id,organization\n{mine.id},d/s2\n", "d/s1")
    assert refused == [(2, "organization", "other_owner")]


def test_a_moved_point_finds_its_owner_again(district: Registry, load: Import) -> None:
    point = add(district, name="a", longitude=1, latitude=1)
    pinned = add(district, "d/s1", name="b", longitude=1, latitude=1)
    load(f"id,longitude,latitude\n{point.id},25,5\n{pinned.id},25,5\n")
    assert [p.organization.path for p in everything(district)] == ["d/s2", "d/s1"]


def test_a_point_that_an_import_gives_away_is_shared_no_longer(
    district: Registry, load: Import
) -> None:
    point = add(district, name="x", longitude=1, latitude=1, assign="polygon")
    shared = shares.NewShare(
        point=point.id, to="d/s2", purpose="p", ends_at=now() + timedelta(hours=1)
    )
    district(shares.create, SYSTEM, shared)
    report, refused = load(f"id,longitude,latitude\n{point.id},7,7\n")
    assert (refused, report.updated) == ([], 1)
    assert district(points.get, SYSTEM, point.id).organization.path == "d/s1"
    assert district(shares.page, SYSTEM).items == ()


def test_positions_that_another_system_would_put_inside(district: Registry, load: Import) -> None:
    jurisdiction = square(116.404, 39.915, 0.001)
    new = NewOrganization(
        kind="station", name="x", slug="x", parent="d/y", jurisdiction=jurisdiction
    )
    district(
        organizations.create,
        SYSTEM,
        NewOrganization(kind="district", name="y", slug="y", parent="d"),
    )
    district(organizations.create, SYSTEM, new)
    text = "name,longitude,latitude\na,116.4107,39.9169\n"
    report, _ = load(text, "d/y", dry_run=True)
    assert (report.outside.count, report.outside.rows) == (1, (2,))
    assert report.outside.would_be_inside == {"gcj02": 1}
    load(text, "d/y", system="gcj02")
    assert [p.organization.path for p in everything(district)] == ["d/y/x"]
    with pytest.raises(FileRefused, match="stated twice"):
        load("name,经度(BD09),纬度\na,1,1\n", "d/y", system="gcj02")


@ON_SQLITE
def test_what_lies_outside_is_told_by_sheet(
    district: Registry, load: Import, tmp_path: Path
) -> None:
    china = square(116.3, 39.8, 0.2)
    for kind, slug, parent, jurisdiction in (
        ("district", "y", "d", china),
        ("station", "z", "d/y", square(0, 0, 1)),
        ("workroom", "w", "d/y/z", None),
    ):
        new = NewOrganization(
            kind=kind, name=slug, slug=slug, parent=parent, jurisdiction=jurisdiction
        )
        district(organizations.create, SYSTEM, new)
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, position in (("甲", (116.5005, 39.9)), ("乙", (0.5, 0.5))):
        sheet = book.create_sheet(title)
        sheet.append(["name", "longitude", "latitude"])
        sheet.append([f"in {title}", 116.4, 39.9])
        sheet.append([f"out {title}", *position])
    book.save(tmp_path / "book.xlsx")
    content = (tmp_path / "book.xlsx").read_bytes()
    found = load(content, "d/y", kind="xlsx", dry_run=True)[0].outside
    # Its own polygon's box, not that of all below it.
    assert (found.whose, found.box) == ("d/y", (116.3, 39.8, 116.5, 40.0))
    assert [(each.sheet, each.rows, dict(each.would_be_inside)) for each in found.sheets] == [
        ("甲", (3,), {"gcj02": 1, "bd09": 1}),
        ("乙", (3,), {}),
    ]
    assert (found.count, dict(found.would_be_inside)) == (2, {"gcj02": 1, "bd09": 1})
    # One without a polygon is held against the nearest above.
    below = load("name,longitude,latitude\na,5,5\n", "d/y/z/w", dry_run=True)[0].outside
    assert (below.whose, below.count) == ("d/y/z", 1)
    # And one above against all below it.
    above = load("name,longitude,latitude\na,5,5\nb,50,1\n", "d/s1", dry_run=True)[0].outside
    assert (above.whose, above.rows) == ("d/s1", (3,))
    everywhere = load("name,longitude,latitude\na,117,5\n", "d", dry_run=True)[0].outside
    assert (everywhere.whose, everywhere.count) == ("d", 1)


def written(registry: Registry, kind: Format, path: Path) -> bytes:
    rows = (row_of(point) for point in exported(registry.database, SYSTEM))
    match kind:
        case "csv":
            path.write_bytes("".join(csv_lines(rows)).encode())
        case "xlsx":
            write_xlsx(path, rows)
        case "geojson":
            path.write_bytes("".join(geojson_pieces(rows)).encode())
    return path.read_bytes()


TEXTS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12
) | st.sampled_from(["=1+1", "'=1", "''@x", "-3", "@a", "a_x0041_", "\ta", "a\rb", "1e5", "007"])
NEW_POINTS = st.builds(
    dict,
    organization=st.sampled_from(["d", "d/s1", "d/s1/w1"]),
    name=TEXTS.filter(lambda text: text.strip() != ""),
    place=TEXTS,
    position=st.none() | st.tuples(st.floats(-180, 180), st.floats(-90, 90)),
    category=st.sampled_from([1, 2, 3, 9]),
    masked=st.booleans(),
    attributes=st.dictionaries(
        TEXTS.filter(lambda name: name not in ATTRIBUTES),
        TEXTS | st.floats(allow_nan=False, allow_infinity=False),
        max_size=2,
    )
    | st.fixed_dictionaries(
        {},
        optional={
            "manufacturer": TEXTS,
            "position_types": st.lists(st.integers(1, 15), max_size=3),
            "height_m": st.floats(0, 100),
            "network": st.just(0),
            "installed_on": st.just("2024-05-01"),
        },
    ),
)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_export_imported_changes_nothing(
    district: Registry, load: Import, tmp_path: Path, kind: Format
) -> None:
    @given(st.lists(NEW_POINTS, min_size=1, max_size=6))
    @settings(
        max_examples=12,
        # A database per example is too slow for shrinking.
        phases=(Phase.explicit, Phase.generate),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    def check(drawn: list[dict[str, Any]]) -> None:
        for each in drawn:
            longitude, latitude = each["position"] or (None, None)
            values = {name: value for name, value in each.items() if name != "position"}
            add(district, longitude=longitude, latitude=latitude, **values)
        before = everything(district)
        report, refused = load(written(district, kind, tmp_path / "export"), kind=kind)
        assert refused == []
        assert counts(report) == (0, 0, len(before), 0)
        assert everything(district) == before
        for point in before:
            district(points.delete, SYSTEM, point.id)

    check()


@ON_SQLITE
def test_a_csv_export_runs_nothing(district: Registry) -> None:
    add(district, name="=cmd|' /C calc'!A0", place="-1+1", longitude=-5.5, latitude=-1)
    lines = "".join(csv_lines(map(row_of, everything(district)))).removeprefix("\ufeff")
    (row,) = csv.DictReader(io.StringIO(lines))
    assert row["name"] == "'=cmd|' /C calc'!A0"
    assert row["place"] == "'-1+1"
    assert row["longitude"] == "-5.5"
    assert "host" not in row


@ON_SQLITE
def test_an_export_into_another_registry_keeps_owners(
    district: Registry, load: Import, tmp_path: Path
) -> None:
    add(district, name="a", longitude=1, latitude=1)
    add(district, "d/s2", name="b", longitude=1, latitude=1)
    content = written(district, "csv", tmp_path / "export").decode()
    owners = [(p.name, p.organization.path, p.assigned_by) for p in everything(district)]
    for point in everything(district):
        district(points.delete, SYSTEM, point.id)
    load(content.replace("id,code", "old number,code"))
    assert [(p.name, p.organization.path, p.assigned_by) for p in everything(district)] == owners


@ON_SQLITE
def test_an_export_is_filtered_and_within_the_partition(district: Registry) -> None:
    add(district, "d/s1", name="a")
    add(district, "d/s2", name="b")
    seen = exported(district.database, integrator("d/s1"))
    assert [each.name for each in seen] == ["a"]
    seen = exported(district.database, SYSTEM, PointFilter(q="b"))
    assert [each.name for each in seen] == ["b"]


def good_files() -> dict[Format, bytes]:
    """The same three points in each format."""
    sheet = openpyxl.Workbook()
    rows = [
        ["name", "place", "经度", "纬度"],
        ["a", "p", 1, 1],
        ["b", "", 7.5, 7],
        ["c", "q", "", ""],
    ]
    assert sheet.active is not None
    for row in rows:
        sheet.active.append(row)
    book, text = io.BytesIO(), io.StringIO()
    sheet.save(book)
    csv.writer(text).writerows(rows)
    features = [
        {"type": "Feature", "properties": {"name": name, "place": "p"}, "geometry": None}
        for name in "abc"
    ]
    collection = json.dumps({"type": "FeatureCollection", "features": features})
    return {
        "csv": text.getvalue().encode(),
        "xlsx": book.getvalue(),
        "geojson": collection.encode(),
    }


GOOD = good_files()


@ON_SQLITE
def test_any_bytes_are_imported_or_explained(district: Registry, load: Import) -> None:
    @given(
        st.sampled_from(FORMATS),
        st.integers(0, 10_000),
        st.integers(0, 3),
        st.binary(max_size=8) | TEXTS.map(str.encode),
    )
    @example("csv", 0, 0, b"")
    @example("xlsx", 0, 0, b"")
    @example("geojson", 0, 0, b"")
    @settings(
        max_examples=60,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def check(kind: Format, where: int, gone: int, more: bytes) -> None:
        content = GOOD[kind]
        where %= len(content)
        before = len(everything(district))
        try:
            report, refused = load(
                content[:where] + more + content[where + gone :], kind=kind, partial=True
            )
        except FileRefused as error:
            assert error.text("en")
            assert error.text("zh")
            assert len(everything(district)) == before
        else:
            assert len({row for row, _, _ in refused}) == report.refused
            assert len(everything(district)) == before + report.created * report.applied

    check()


@ON_SQLITE
def test_any_csv_is_imported_or_explained(district: Registry, load: Import) -> None:
    @given(st.lists(st.lists(TEXTS, min_size=3, max_size=4), max_size=5), st.binary(max_size=20))
    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def check(rows: list[list[str]], more: bytes) -> None:
        text = io.StringIO()
        csv.writer(text).writerows([["name", "place", "经度"], *rows])
        try:
            report, refused = load(text.getvalue().encode() + more, partial=True)
        except FileRefused as error:
            assert error.reasons
        else:
            assert len({row for row, _, _ in refused}) == report.refused

    check()
