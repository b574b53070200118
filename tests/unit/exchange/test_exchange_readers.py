"""Readers of CSV, XLSX and GeoJSON on real files: good ones, odd ones, any bytes."""

import datetime
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.exchange import records as rows
from registry.exchange import xlsx_file
from registry.exchange.files import FORMATS, Format, format_of, read_records
from registry.exchange.records import FileRefused, Record
from registry.exchange.row_values import FORMULA, ErrorCell, NoPoint


def read(path: Path, content: bytes | str, kind: Format = "csv") -> list[Record]:
    path = path / "file"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_records(path, kind))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_the_encoding_is_detected(tmp_path: Path, encoding: str) -> None:
    records = read(tmp_path, "名称,地址\r\n文艺路口,文艺路18号\r\n\r\n二,\n".encode(encoding))
    assert [(each.row, each.cells) for each in records] == [
        (2, ("文艺路口", "文艺路18号")),
        (4, ("二", "")),
    ]
    assert records[0].headers == ("名称", "地址")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path: Path, delimiter: str) -> None:
    records = read(tmp_path, f"name{delimiter}place\na{delimiter}b,c\n")
    assert records[0].cells == ("a", "b,c")


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_a_title_says_nothing_of_what_stands_between_cells(tmp_path: Path, delimiter: str) -> None:
    title = "视频点位表（沈河, 2026 年, 第二版）"
    records = read(tmp_path, f"{title}\n\nname{delimiter}place\na{delimiter}b,c\n")
    assert [(each.row, each.cells) for each in records] == [(4, ("a", "b,c"))]


def test_blank_rows_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_BLANK_ROWS", 1000)
    assert len(read(tmp_path, "name\na\n" + ",\n" * 900 + "b\n")) == 2
    with pytest.raises(FileRefused, match="blank rows"):
        read(tmp_path, "name\na\n" + ",\n" * 3000 + "b\n")
    with pytest.raises(FileRefused, match="is empty"):
        read(tmp_path, ",\n" * 2000)


def test_rows_of_several_lines_are_counted_as_spreadsheets_do(tmp_path: Path) -> None:
    records = read(tmp_path, 'name,place\n"a","b\nc"\nd,e\n')
    assert [(each.row, each.cells) for each in records] == [(2, ("a", "b\nc")), (3, ("d", "e"))]


def test_a_file_without_rows_below_its_header_is_none_that_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path, "name\n") == []
    assert read(tmp_path, workbook([["name"]]), "xlsx") == []
    with pytest.raises(FileRefused, match="is empty"):
        read(tmp_path, workbook([[]]), "xlsx")


def test_a_title_above_the_header_is_passed_over(tmp_path: Path) -> None:
    records = read(tmp_path, "点位表,,\n,,\nSBMC,AZDZ,JD\na,b,1\n")
    assert [(each.row, each.cells) for each in records] == [(4, ("a", "b", "1"))]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a,b\n1,2\n", "column name"),
        (b"name\nab\xff\xff\n", "line 2 is neither utf-8 nor gb18030"),
        (b"name\n" + b"x" * 200_000, "no CSV: a cell has more than"),
        (b'name,place\na,b\nc,"d\ne,f\n', "line 3 is no CSV: a quote is opened and never"),
        (b'name,place\n"a"b,c\n', "line 2 is no CSV: something stands between"),
        (b"name\na\n" + b"," * 300_000, "line 3 is far too long"),
        (b'name\n"a"' + b',"\n"' * 100_000, "line 2 is far too long"),
        (b"", "is empty"),
        (b" \r\n,,\r\n", "is empty"),
        ("名称\n甲\n".encode("utf-16-le"), "UTF-16 without a byte order mark"),
        (bytes(100), "no text"),
        (b"PK\x03\x04rest of it", "is a workbook"),
        ("name\n和平里\n".encode() + "万莲路\n".encode("gb18030"), "line 2 is UTF-8 and line 3"),
        ("name\n和平里\n和平里\n".encode() + b"\xff\n", "line 2 is UTF-8 and line 4"),
        ("name\n".encode("utf-16") + b"\x00\xd8\n\x00", "line 2 is not utf-16"),
    ],
)
def test_a_csv_that_cannot_be_read_says_why(tmp_path: Path, content: bytes, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        read(tmp_path, content)


def workbook(rows: list[list[Any]], merge: str = "", title: str = "表1") -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = title
    for row in rows:
        sheet.append(row)
    if merge:
        sheet.merge_cells(merge)
    second = book.create_sheet("空")
    assert second.title == "空"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.fixture(params=["at once", "streamed"])
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a test through both libraries."""
    if request.param == "streamed":
        monkeypatch.setattr(xlsx_file, "AT_ONCE_ROWS", 0)


@pytest.mark.usefixtures("both_ways")
def test_a_workbook(tmp_path: Path) -> None:
    content = workbook(
        [
            ["名称", "地址", "经度", "AZSJ"],
            ["a", "路", 123.5, datetime.date(2024, 5, 1)],
            [],
            ["b", None, 3, None],
        ]
    )
    records = read(tmp_path, content, "xlsx")
    assert [(each.sheet, each.row, each.cells[0], each.cells[2]) for each in records] == [
        ("表1", 2, "a", 123.5),
        ("表1", 4, "b", 3),
    ]
    assert str(records[0].cells[3]).startswith("2024-05-01")


@pytest.mark.usefixtures("both_ways")
def test_merged_cells_hold_their_value_everywhere(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["名称", "地址"], ["a", "路"], ["b", None], ["c", "街"]]
    records = read(tmp_path, workbook(rows, "B2:B3"), "xlsx")
    assert [each.cells for each in records] == [("a", "路"), ("b", "路"), ("c", "街")]


@pytest.mark.usefixtures("both_ways")
def test_a_formula_without_a_result_is_seen(tmp_path: Path) -> None:
    records = read(tmp_path, workbook([["name", "place"], ["a", "=1+1"]]), "xlsx")
    assert records[0].cells == ("a", FORMULA)


def changed(content: bytes, name: str, new: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", 8) as made:
        for part in old.infolist():
            made.writestr(part.filename, new if part.filename == name else old.read(part))
    return file.getvalue()


SHEET = "xl/worksheets/sheet1.xml"


def with_shared_strings(content: bytes, strings: str, sheet: str) -> bytes:
    """A workbook as spreadsheet programs write it: texts apart from the cells."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    listed = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{kind}"/></Types>'
    related = f'<Relationship Id="rS" Type="{office}/sharedStrings" Target="sharedStrings.xml"/>'
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w", 8) as made:
        for part in old.infolist():
            text = old.read(part).decode()
            if part.filename == SHEET:
                text = f'<worksheet xmlns="{main}">{sheet}</worksheet>'
            elif part.filename == "[Content_Types].xml":
                text = text.replace("</Types>", listed)
            elif part.filename == "xl/_rels/workbook.xml.rels":
                text = text.replace("</Relationships>", f"{related}</Relationships>")
            made.writestr(part.filename, text)
        made.writestr("xl/sharedStrings.xml", f'<sst xmlns="{main}">{strings}</sst>')
    return file.getvalue()


@pytest.mark.usefixtures("both_ways")
def test_shared_texts_are_found_by_their_number(tmp_path: Path) -> None:
    strings = (
        "<si><t>名称</t></si><si><t/></si><si><r><t>文艺</t></r><r><rPr/><t>路口</t></r>"
        '<rPh sb="0" eb="1"><t>wenyi</t></rPh></si><si><t>place</t></si>'
    )
    rows = [(0, 3), (2, 1), (2, 2)]
    cells = "".join(
        f'<row r="{row}"><c r="A{row}" t="s"><v>{a}</v></c><c r="B{row}" t="s"><v>{b}</v></c></row>'
        for row, (a, b) in enumerate(rows, 1)
    )
    content = with_shared_strings(
        workbook([["名称", "place"], ["a", "b"]]), strings, f"<sheetData>{cells}</sheetData>"
    )
    records = read(tmp_path, content, "xlsx")
    assert [(each.cells[0], each.cells[1] or "") for each in records] == [
        ("文艺路口", ""),
        ("文艺路口", "文艺路口"),
    ]


def test_a_shared_text_that_there_is_not_refuses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx_file, "AT_ONCE_ROWS", 0)
    sheet = '<sheetData><row r="1"><c r="A1" t="s"><v>7</v></c></row></sheetData>'
    content = with_shared_strings(workbook([["name"]]), "<si><t>name</t></si>", sheet)
    with pytest.raises(FileRefused, match="no shared string 7"):
        read(tmp_path, content, "xlsx")


def test_a_zip_bomb_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx_file, "SMALL_BYTES", 1 << 20)
    content = changed(workbook([["name"], ["a"]]), SHEET, b" " * (4 << 20))
    with pytest.raises(FileRefused, match="200 to 1"):
        read(tmp_path, content, "xlsx")


def test_a_size_that_lies_is_refused(tmp_path: Path) -> None:
    content = bytearray(changed(workbook([["name"], ["a"]]), SHEET, b"x" * 5000))
    where = content.rfind(SHEET.encode()) - 46
    content[where + 24 : where + 28] = (10).to_bytes(4, "little")
    with pytest.raises(FileRefused):
        read(tmp_path, bytes(content), "xlsx")


def test_entities_are_refused(tmp_path: Path) -> None:
    xml = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa">]><worksheet/>'
    with pytest.raises(FileRefused, match="document type"):
        read(tmp_path, changed(workbook([["name"]]), SHEET, xml), "xlsx")


def test_a_cell_far_away_does_not_fill_the_memory(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["A1"], sheet["A2"], sheet["XFD1048576"] = "name", "a", "far"
    path = tmp_path / "file.xlsx"
    book.save(path)
    records = list(read_records(path, "xlsx"))
    assert [(each.row, each.cells[0]) for each in records] == [(2, "a"), (1_048_576, None)]


MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def text_cell(attributes: str, text: str) -> str:
    return f'<c {attributes} t="inlineStr"><is><t>{text}</t></is></c>'


def sheet_of(*rows: str) -> str:
    return f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(rows)}</sheetData></worksheet>'


@pytest.mark.parametrize(
    "far",
    [
        "r='XFD1048576'",
        'r = "XFD1048576"',
        'r="xfd1048576"',
        'r="&#88;FD1048576"',
        'r="A2" r="XFD1048576"',
        "",
    ],
)
def test_no_cell_far_away_is_overlooked(tmp_path: Path, far: str) -> None:
    """python-calamine would ask for 550 GB and end the process."""
    name = text_cell('r="A1"', "name")
    rows = (
        f'<row r="1">{name}</row>',
        f'<row r="1048576">{text_cell(far, "far")}</row>',
    )
    content = changed(workbook([["name"]]), SHEET, sheet_of(*rows).encode())
    try:
        records = read(tmp_path, content, "xlsx")
    except FileRefused as refused:
        assert "duplicate attribute" in refused.text()
    else:
        assert [each.row for each in records] == [1_048_576]


def test_usual_workbooks_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_file, "_streamed", None)
    rows = (
        '<row r="1" spans="1:1"><c r="A1" s="1" t="str"><v>name</v></c></row>',
        '<row r="2"><c r="A2" s="1" cm="1"><f>1+1</f><v>2</v></c><c r="B2"/></row>',
    )
    content = changed(workbook([["name"]]), SHEET, sheet_of(*rows).encode())
    chain = f'<calcChain xmlns="{MAIN}"><c r="A2" i="1" l="1"/><c r="A3"/></calcChain>'
    content = changed(content, "xl/theme/theme1.xml", chain.encode())
    assert [each.cells[0] for each in read(tmp_path, content, "xlsx")] == [2]


def test_a_sheet_may_be_any_part(tmp_path: Path) -> None:
    rows = ('<row r="1"><c r="A1" t="str"><v>name</v></c></row>', '<row r="2"><c r="XFD1048576"/>')
    content = changed(workbook([["name"]]), "xl/theme/theme1.xml", sheet_of(*rows).encode())
    target = (b"/xl/worksheets/sheet1.xml", b"/xl/theme/theme1.xml")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        related = archive.read("xl/_rels/workbook.xml.rels")
    assert target[0] in related
    content = changed(content, "xl/_rels/workbook.xml.rels", related.replace(*target))
    with pytest.raises(FileRefused, match="cannot be read"):
        read(tmp_path, content, "xlsx")


def test_a_sheet_in_utf16_is_read(tmp_path: Path) -> None:
    text = '<?xml version="1.0" encoding="UTF-16"?>' + sheet_of(
        f"<row>{text_cell('', '名称')}</row>", f"<row>{text_cell('', '甲')}</row>"
    )
    content = changed(workbook([["name"]]), SHEET, text.encode("utf-16"))
    assert [each.cells for each in read(tmp_path, content, "xlsx")] == [("甲",)]


def test_a_row_below_the_end_of_sheets_is_refused(tmp_path: Path) -> None:
    rows = f'<row r="99999999999999">{text_cell("", "name")}</row>'
    content = changed(workbook([["name"]]), SHEET, sheet_of(rows).encode())
    with pytest.raises(FileRefused, match="1048576"):
        read(tmp_path, content, "xlsx")


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("prefix", ["", "x:"])
def test_errors_are_no_texts_and_empty_results_no_errors(tmp_path: Path, prefix: str) -> None:
    rows = (
        '<row r="1"><c r="A1" t="str"><v>name</v></c><c r="B1" t="str"><v>place</v></c>'
        '<c r="C1" t="str"><v>lon</v></c></row>',
        '<row r="2"><c r="A2" t="e"><f>Z!A1</f><v>#REF!</v></c>'
        '<c r="B2" t="str"><f>""</f><v></v></c><c r="C2"><f>1+1</f><v></v></c></row>',
    )
    text = sheet_of(*rows)
    if prefix:
        text = text.replace("<", f"<{prefix}").replace(f"<{prefix}/", f"</{prefix}")
        text = text.replace("xmlns=", "xmlns:x=")
    content = changed(workbook([["name"]]), SHEET, text.encode())
    (record,) = read(tmp_path, content, "xlsx")
    assert (record.cells[0], record.cells[1] or "") == (ErrorCell("#REF!"), "")
    assert record.cells[2] is FORMULA


def test_too_many_formulas_without_results_refuse_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xlsx_file, "MAX_PECULIAR_CELLS", 2)
    with pytest.raises(FileRefused, match="without a stored value"):
        read(tmp_path, workbook([["name"], ["=1"], ["=2"], ["=3"]]), "xlsx")


def test_an_old_workbook_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileRefused, match="save it as"):
        read(tmp_path, bytes.fromhex("d0cf11e0a1b11ae1") + bytes(600), "xlsx")


def collection(*features: object) -> str:
    return json.dumps({"type": "FeatureCollection", "features": features, "more": [1]})


def test_geojson(tmp_path: Path) -> None:
    records = read(
        tmp_path,
        collection(
            {
                "type": "Feature",
                "id": 7,
                "properties": {"name": "a" * 400_000},
                "geometry": {"type": "Point", "coordinates": [123.5, 41.5, 9]},
            },
            {"type": "Feature", "properties": None, "geometry": None},
            {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon"}},
        ),
        "geojson",
    )
    assert records[0].headers == ("id", "name", "longitude", "latitude")
    assert records[0].cells == (None, "a" * 400_000, 123.5, 41.5)
    assert records[1].cells == (None, None, None, None)
    assert records[2].cells == (None, None, NoPoint("Polygon"), None)


def test_features_of_different_properties_stand_below_the_same_header(tmp_path: Path) -> None:
    features = [
        {"type": "Feature", "properties": properties, "geometry": None}
        for properties in ({"name": "a"}, {"place": "p"}, {"name": "b"}, {"名称": "c"})
    ]
    records = read(tmp_path, collection(*features), "geojson")
    held = [dict(zip(each.headers, each.cells, strict=True)) for each in records]
    assert [each.get("name") for each in held] == ["a", None, "b", None]
    assert [each.get("place") for each in held] == [None, "p", None, None]
    assert held[3]["名称"] == "c"
    assert records[1].headers is records[2].headers


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "the end"),
        ("[]", "expected {"),
        ('{"type": "Feature"}', "this is a Feature"),
        ('{"type": "FeatureCollection"}', "here is none"),
        ('{"features": [1]}', "item 1"),
        ('{"features": [{"type": "Feature"} {', "after feature 1"),
        ('{"features": [{"type": "Feature"', "feature 1: no JSON"),
        ('{"features": [' + "[" * 100_000, "nested too deeply"),
    ],
)
def test_a_geojson_that_cannot_be_read_says_where(tmp_path: Path, content: str, why: str) -> None:
    with pytest.raises(FileRefused, match=why):
        read(tmp_path, content, "geojson")


def test_the_format_is_in_the_name() -> None:
    assert [format_of(f"A.{name}") for name in ("CSV", "xlsx", "geojson", "json")] == [
        *FORMATS,
        "geojson",
    ]
    with pytest.raises(FileRefused):
        format_of("points.xls")


GOOD = workbook([["name", "place"], ["a", "b"]])


@given(st.sampled_from(FORMATS), st.binary(max_size=200), st.integers(0, len(GOOD)), st.booleans())
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_read_or_refused(
    tmp_path: Path, kind: Format, content: bytes, where: int, broken: bool
) -> None:
    if kind == "xlsx" and broken:
        content = GOOD[:where] + content[:3] + GOOD[where + len(content[:3]) :]
    elif kind == "csv" and broken:
        content = b"name,place\n" + content
    try:
        for record in read(tmp_path, content, kind):
            assert record.row >= 1
    except FileRefused as refused:
        assert refused.reasons[0].reason
