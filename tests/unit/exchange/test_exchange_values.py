"""Coordinates, headers and cells: what a file says of a point."""

import dataclasses
import datetime
import json
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.exchange.block_values import BlockReader, BlockValues
from registry.exchange.columns import ALIASES, field_of, read_header
from registry.exchange.coordinates import (
    SYSTEMS,
    System,
    from_wgs84,
    gcj02_to_bd09,
    to_wgs84,
    to_wgs84_all,
)
from registry.exchange.reasons import FILE_TEXTS, TEXTS, Refusal, language_of, refuse
from registry.exchange.records import FileRefused
from registry.exchange.row_values import FORMULA, CellRefused, ErrorCell, NoPoint, read_cell
from registry.point_rules import EDITABLE, clean

NEAR_DEG = 1e-9


def test_published_vectors() -> None:
    # The figures that the reference programs for these conversions give for 116.404, 39.915.
    assert from_wgs84(116.404, 39.915, "gcj02") == pytest.approx(
        (116.41024449916938, 39.91640428150164), abs=NEAR_DEG
    )
    assert gcj02_to_bd09(116.404, 39.915) == pytest.approx(
        (116.41036949371029, 39.92133699351021), abs=NEAR_DEG
    )
    assert to_wgs84(116.404, 39.915, "gcj02") == pytest.approx(
        (116.39775550083061, 39.91359571849836), abs=2e-5
    )


@given(st.floats(73, 135), st.floats(4, 53), st.sampled_from(SYSTEMS))
def test_the_way_there_and_back_ends_where_it_began(
    longitude: float, latitude: float, system: System
) -> None:
    there = from_wgs84(longitude, latitude, system)
    assert to_wgs84(*there, system) == pytest.approx((longitude, latitude), abs=NEAR_DEG)


def test_outside_china_nothing_is_displaced() -> None:
    assert to_wgs84(13.4, 52.5, "gcj02") == (13.4, 52.5)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("SBMC", ("name", None)),
        ("设备名称 *", ("name", None)),
        ("经度(GCJ-02)", ("longitude", "gcj02")),
        ("百度纬度", ("latitude", "bd09")),
        ("GPS_经度", ("longitude", "wgs84")),
        ("Street Address", ("place", None)),
        ("ＩＰ地址", ("host", None)),
        ("LXBCTS", ("attributes.storage_days", None)),
        ("录像保存天数（必填）", ("attributes.storage_days", None)),
        ("shoe size", (None, None)),
        ("百度", (None, None)),
    ],
)
def test_headers(header: str, expected: tuple[str | None, str | None]) -> None:
    assert field_of(header) == expected


def test_no_alias_means_two_fields() -> None:
    for field, aliases in ALIASES.items():
        for alias in aliases:
            assert field_of(alias)[0] == field, alias


def test_a_header_row_says_what_it_leaves_out() -> None:
    columns = read_header(["名称", "name", "颜色", "经度(GCJ02)", "纬度(BD09)", ""])
    assert columns.fields == {0: "name", 3: "longitude", 4: "latitude"}
    assert columns.repeated == ("name",)
    assert columns.ignored == ("颜色",)
    assert columns.contradicts


@dataclasses.dataclass(frozen=True)
class Read:
    """A block of one row. values: those it says."""

    values: dict[str, Any]
    raw_position: tuple[float | None, float | None]
    refusals: tuple[Refusal, ...]


def one(read: BlockValues) -> Read:
    values = {field: cells[0] for field, cells in read.columns.items() if cells[0] is not None}
    if read.attributes[0] is not None:
        values["attributes"] = json.loads(read.attributes[0])
    raw = read.raw_longitude[0], read.raw_latitude[0]
    return Read(values=values, raw_position=raw, refusals=read.refusals.get(0, ()))


def row(values: dict[str, Any], system: System = "wgs84") -> Read:
    reader = BlockReader(read_header(list(values)), system)
    return one(reader.read([list(values.values())]))


def test_a_row_of_an_upload_program() -> None:
    read = row(
        {
            "SBBM": "21010200001320000001",
            "SBMC": " 文艺路口 ",
            "JKDWLX": "二类",
            "JD": 123.4,
            "WD": "41.8",
            "SXJWZLX": "1/5",
            "AZSJ": datetime.datetime(2024, 5, 1, 8),  # noqa: DTZ001 - a spreadsheet has no zone
            "LXBCTS": 30.0,
            "LWSX": 0,
            "MACDZ": "00:1a:2b:3c:4d:5e",
            "IPV4": "10.0.0.9",
            "通道号": "3",
            "XZQY": 210102,
            "隐私遮挡": "是",
        }
    )
    assert read.refusals == ()
    assert read.values == {
        "code": "21010200001320000001",
        "name": "文艺路口",
        "category": 2,
        "longitude": 123.4,
        "latitude": 41.8,
        "host": "10.0.0.9",
        "channel_number": 3,
        "masked": True,
        "attributes": {
            "position_types": [1, 5],
            "installed_on": "2024-05-01",
            "storage_days": 30,
            "network": 0,
            "mac": "00-1A-2B-3C-4D-5E",
            "region": "210102",
        },
    }


@pytest.mark.parametrize(
    ("header", "cell", "reason"),
    [
        ("code", 2.1010200001320002e19, "code_is_number"),
        ("code", "2.10102E+19", "code_is_number"),
        ("code", "123", "code_not_20_digits"),
        ("id", "7", "not_an_id"),
        ("name", "x" * 201, "too_long"),
        ("name", "a\x00", "control"),
        ("name", FORMULA, "formula"),
        ("longitude", "east", "not_a_number"),
        ("longitude", "nan", "not_a_number"),
        ("longitude", "181", "out_of_range"),
        ("latitude", "123.4", "swapped"),
        ("latitude", "181", "out_of_range"),
        ("longitude", NoPoint("Polygon"), "no_point"),
        ("name", ErrorCell("#REF!"), "error_cell"),
        ("category", "4", "not_a_choice"),
        ("ownership", "mine", "not_a_choice"),
        ("channel", "0", "out_of_range"),
        ("channel", "1.5", "not_whole"),
        ("masked", "perhaps", "not_a_choice"),
        ("assigned by", "me", "not_a_choice"),
        ("attributes", "[1]", "not_json"),
        ("attributes", '{"storage_days": "x"}', "invalid"),
        ("AZSJ", "2024-02-30", "not_a_date"),
        ("XZQY", "999999", "not_a_region"),
        ("MACDZ", "x", "not_a_mac"),
        ("LWSX", "0/1", "not_a_choice"),
        ("SXJWZLX", "16", "not_a_choice"),
    ],
)
def test_what_is_refused_says_where_and_why(header: str, cell: Any, reason: str) -> None:
    refusals = row({header: cell}).refusals
    assert [(each.column, each.reason) for each in refusals if each.reason != "half_position"] == [
        (header, reason)
    ]
    assert refusals[0].text("en")
    assert refusals[0].line("zh").startswith(f"{header}：")


def test_half_a_position_is_refused() -> None:
    assert [each.reason for each in row({"经度": 1, "纬度": ""}).refusals] == ["half_position"]


def test_positions_are_converted_from_the_system_that_the_file_states() -> None:
    read = row({"经度": 116.41024449916938, "纬度": 39.91640428150164}, "gcj02")
    assert read.values["longitude"] == pytest.approx(116.404, abs=NEAR_DEG)
    assert read.raw_position == (116.41024449916938, 39.91640428150164)


def test_more_cells_than_headers() -> None:
    reader = BlockReader(read_header(["name"]), "wgs84")
    read = reader.read([["a"], ["b", "", None], [], ["c", "", "d"]])
    assert read.columns["name"] == ["a", "b", None, "c"]
    assert {at: [each.reason for each in found] for at, found in read.refusals.items()} == {
        3: ["short_row"]
    }


CELLS = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(st.lists(st.tuples(st.sampled_from(sorted(ALIASES)), CELLS), max_size=6))
def test_any_cells_give_values_or_reasons(cells: list[tuple[str, Any]]) -> None:
    headers = [ALIASES[field][0] for field, _ in cells]
    read = one(BlockReader(read_header(headers), "bd09").read([[cell for _, cell in cells]]))
    for refusal in read.refusals:
        assert refusal.line("en")
        assert refusal.line("zh")


CELL_TEXTS = st.text(max_size=8) | st.sampled_from(
    [
        *(
            "",
            " a ",
            "'=1",
            "''@x",
            "e\u0301",
            "x" * 401,
            "\x00",
            "\ud800",
            "1",
            "1.5",
            "１２",
            "1_0",
        ),
        *("nan", "1e400", "-0", " 7 ", "21010200001320000001", "2.1E+19", "10.0.0.9", "İ"),
        *("01890000-0000-7000-8000-00000000000F", "2024-05-01", "是", "公安", "二类", "1/5", "{}"),
        '{"a": 1e400}',
        '{"a": 99999999999999999999}',
        '{"a": [null]}',
    ]
)


@given(
    st.sampled_from(sorted(ALIASES)),
    st.lists(CELL_TEXTS, min_size=1, max_size=6) | st.lists(CELLS, min_size=1, max_size=6),
)
def test_a_column_is_read_as_its_cells_are(field: str, cells: list[Any]) -> None:
    reader = BlockReader(read_header([ALIASES[field][0]]), "wgs84")
    for _ in range(2):  # from what it remembers, too
        read = reader.read([[cell] for cell in cells])
        for number, cell in enumerate(cells):
            try:
                expected = None if cell in (None, "") else read_cell(field, cell)
            except CellRefused as refused:
                assert refused.reason in [each.reason for each in read.refusals[number]]
                continue
            if field in ("longitude", "latitude"):
                half = [] if expected is None else ["half_position"]
                assert [each.reason for each in read.refusals.get(number, ())] == half
                continue
            assert number not in read.refusals
            if field == "attributes":
                assert json.loads(read.attributes[number] or "{}") == (expected or {})
            elif field.startswith("attributes."):
                found = json.loads(read.attributes[number] or "{}")
                assert found.get(field.partition(".")[2]) == expected
            else:
                assert read.columns[field][number] == expected


@given(st.lists(st.tuples(st.sampled_from(sorted(ALIASES)), CELLS), max_size=6))
def test_what_is_read_is_what_is_stored(cells: list[tuple[str, Any]]) -> None:
    headers = [ALIASES[field][0] for field, _ in cells]
    read = one(BlockReader(read_header(headers), "gcj02").read([[cell for _, cell in cells]]))
    if read.refusals or "name" not in read.values:
        return
    nothing = dict.fromkeys(EDITABLE, None)
    said = {field: value for field, value in read.values.items() if field in EDITABLE}
    stored = {**nothing, "place": "", "category": 9, "ownership": "other", "attributes": {}, **said}
    assert clean(stored) == stored


@given(
    st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=1, max_size=9),
    st.sampled_from(SYSTEMS),
)
def test_a_position_is_converted_the_same_whatever_stands_beside_it(
    positions: list[tuple[float, float]], system: System
) -> None:
    together = to_wgs84_all(
        numpy.array([x for x, _ in positions]), numpy.array([y for _, y in positions]), system
    )
    for number, position in enumerate(positions):
        found = (float(together[0][number]), float(together[1][number]))
        assert found == pytest.approx(to_wgs84(*position, system), abs=1e-11)


def test_why_a_file_is_refused_is_said_in_both_languages() -> None:
    class Anything(dict[str, str]):
        def __missing__(self, key: str) -> str:
            return "x"

    for english, chinese in FILE_TEXTS.values():
        assert english.format_map(Anything())
        assert any(each >= "\u4e00" for each in chinese.format_map(Anything()))
    refused = FileRefused("expected", "表1", where=("a", "甲"), wanted="{", found="x")
    assert refused.reasons[0].reason == "sheet 表1: a: expected {, found x"
    assert refused.text("zh") == "工作表 表1：甲：应为 {，实际为 x"


def test_every_reason_is_said_in_both_languages() -> None:
    for reason, (english, chinese) in TEXTS.items():
        assert english
        assert chinese, reason
    assert refuse("name", "too_long", most=3).text("zh") == "超过 3 个字符"


@pytest.mark.parametrize(
    ("header", "language"),
    [("zh-CN,en;q=0.8", "zh"), ("en", "en"), ("fr, zh;q=0.5, en;q=0.9", "en"), ("", "en")],
)
def test_the_callers_language(header: str, language: str) -> None:
    assert language_of(header) == language
