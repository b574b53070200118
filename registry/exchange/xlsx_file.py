"""Rows of XLSX workbooks: small ones at once with python-calamine, others as a stream.

Before any library opens it, the file is gone through: what its parts unpack to, what is merged,
which formulas have no stored value.
"""

import dataclasses
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import python_calamine

from registry.exchange.records import Block, FileRefused, under_headers
from registry.exchange.row_values import FORMULA

AT_ONCE_ROWS = 50_000
AT_ONCE_CELLS = 2_000_000
MAX_UNPACKED_BYTES = 4 << 30
MAX_STRINGS_BYTES = 512 << 20
MAX_RATIO = 200
SMALL_BYTES = 64 << 20
"""Parts below this may be packed as tightly as they like."""
MAX_PARTS = 10_000
MAX_MERGED_CELLS = 1_000_000

_BLOCK = 1 << 20
_ROW = re.compile(rb"<(?:\w+:)?row\b")
_CELL = re.compile(rb'r="([A-Z]{1,3})([0-9]{1,7})"')
"""Begins with what is looked for letter by letter, which is three times as quick as a pattern."""
_EMPTY_FORMULA = re.compile(
    rb'<c\b[^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"[^>]*>\s*'
    rb"<f\b(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>"
)
_MERGED = re.compile(
    rb'<mergeCell\b[^>]*?\bref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"'
)
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, python_calamine.CalamineError, KeyError, ValueError),
    *(TypeError, AttributeError, IndexError, OSError, EOFError, SyntaxError, NotImplementedError),
    *(RuntimeError, AssertionError, OverflowError),
)


@dataclasses.dataclass(slots=True)
class _Found:
    """What going through the parts found. formulas, merged: by position, 0-based (row, column)."""

    rows: int = 0
    cells: int = 0
    formulas: set[tuple[int, int]] = dataclasses.field(default_factory=set)
    merged: list[tuple[int, int, int, int]] = dataclasses.field(default_factory=list)


def read_xlsx(path: Path) -> Iterator[Block]:
    """Rows of all sheets that hold anything. The value of merged cells stands in each of them.

    Raises: FileRefused for what is no workbook, or unpacks to too much.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive)
            sheets = {
                each.filename: _go_through(archive, each)
                for each in archive.infolist()
                if re.fullmatch(r"xl/worksheets/[^/]+\.xml", each.filename)
            }
        peculiar = any(each.merged or each.formulas for each in sheets.values())
        order = _sheet_parts(path) if peculiar else {}
    except _UNREADABLE as error:
        if isinstance(error, FileRefused):
            raise
        raise FileRefused("no_workbook", why=error) from None
    if not sheets:
        raise FileRefused("no_sheets")
    small = all(
        each.rows <= AT_ONCE_ROWS and each.cells <= AT_ONCE_CELLS for each in sheets.values()
    )
    for name, rows in _guarded(_at_once(path) if small else _streamed(path)):
        found = sheets.get(order.get(name, ""), _Found())
        yield from under_headers(name, _filled(rows, found))


def _check_sizes(archive: zipfile.ZipFile) -> None:
    parts = archive.infolist()
    if len(parts) > MAX_PARTS:
        raise FileRefused("too_many_parts", most=MAX_PARTS)
    if sum(each.file_size for each in parts) > MAX_UNPACKED_BYTES:
        raise FileRefused("unpacks_to_too_much", most=MAX_UNPACKED_BYTES >> 30)
    names = [each.filename for each in parts]
    if len(set(names)) != len(names):
        raise FileRefused("parts_of_one_name")
    for each in parts:
        if each.flag_bits & 1:
            raise FileRefused("protected")
        if each.file_size > SMALL_BYTES and each.file_size > MAX_RATIO * each.compress_size:
            raise FileRefused("packed_too_tightly", part=each.filename, most=MAX_RATIO)
        if "sharedStrings" in each.filename and each.file_size > MAX_STRINGS_BYTES:
            raise FileRefused("too_much_text", most=MAX_STRINGS_BYTES >> 20)
        if not each.filename.startswith("xl/worksheets/") and each.filename.endswith(
            (".xml", ".rels")
        ):
            _check_part(archive, each)


def _blocks(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Iterator[bytes]:
    """Its bytes. zipfile ends at the declared size and checks the sum, so sizes cannot lie."""
    with archive.open(part) as opened:
        while block := opened.read(_BLOCK):
            yield block


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    for number, block in enumerate(_blocks(archive, part)):
        if number == 0:
            _refuse_doctype(block)


def _refuse_doctype(begin: bytes) -> None:
    if b"<!DOCTYPE" in begin or b"<!ENTITY" in begin:
        raise FileRefused("doctype")


def _go_through(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> _Found:
    found = _Found()
    last_row, last_column = 0, 0
    count_cells = part.file_size <= SMALL_BYTES
    rest = b""
    for number, block in enumerate(_blocks(archive, part)):
        if number == 0:
            _refuse_doctype(block)
        text = rest + block
        cut = text.rfind(b"<row")
        cut = cut if cut > 0 else max(text.rfind(b"</c>") + 4, len(text) - _BLOCK)
        done, rest = text[:cut], text[cut:]
        for chunk in (done,) if len(block) == _BLOCK else (done, rest):
            found.rows += chunk.count(b"<row") or len(_ROW.findall(chunk))
            if count_cells:
                cells = _CELL.findall(chunk)
                last_row = max(last_row, *map(int, {row for _, row in cells}), 0)
                last_column = max(last_column, *map(_column, {name for name, _ in cells}), 0)
            if b"<f" in chunk:
                for letters, row in _EMPTY_FORMULA.findall(chunk):
                    found.formulas.add((int(row) - 1, _column(letters)))
            if b"<mergeCell " in chunk:
                _note_merged(found, chunk)
        if len(block) < _BLOCK:
            rest = b""
    found.rows = max(found.rows, last_row)
    # A sheet too large to look at each cell is streamed anyway.
    found.cells = last_row * (last_column + 1) if count_cells else AT_ONCE_CELLS + 1
    return found


def _note_merged(found: _Found, chunk: bytes) -> None:
    for left, top, right, bottom in _MERGED.findall(chunk):
        box = (int(top) - 1, _column(left), int(bottom) - 1, _column(right))
        found.merged.append(box)
    cells = sum((b - t + 1) * (r - le + 1) for t, le, b, r in found.merged)
    if cells > MAX_MERGED_CELLS:
        raise FileRefused("too_many_merged", most=MAX_MERGED_CELLS)


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number - 1


def _sheet_parts(path: Path) -> dict[str, str]:
    """The part of each sheet by the sheet's name."""
    # Most workbooks do without openpyxl, which takes as long to load as a small one to read.
    from openpyxl.reader.excel import ExcelReader

    # By its file and not its name: uploads have names without a suffix.
    with path.open("rb") as file:
        workbook = ExcelReader(file, read_only=True)
        workbook.read_manifest()
        workbook.read_workbook()
        return {
            sheet.name: relation.target.lstrip("/")
            for sheet, relation in workbook.parser.find_sheets()
        }


def _guarded(
    sheets: Iterator[tuple[str, Iterator[Sequence[Any]]]],
) -> Iterator[tuple[str, Iterator[Sequence[Any]]]]:
    """What a library stumbles over in a broken file, as our own error."""
    while True:
        try:
            name, rows = next(sheets)
        except StopIteration:
            return
        except _UNREADABLE as error:
            raise FileRefused("unreadable", why=error) from None
        yield name, _guarded_rows(name, rows)


def _guarded_rows(name: str, rows: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except _UNREADABLE as error:
            raise FileRefused("unreadable", name, why=error) from None
        yield row


def _at_once(path: Path) -> Iterator[tuple[str, Iterator[Sequence[Any]]]]:
    with python_calamine.CalamineWorkbook.from_path(path) as workbook:
        for name in workbook.sheet_names:
            yield name, iter(workbook.get_sheet_by_name(name).to_python(skip_empty_area=False))


def _streamed(path: Path) -> Iterator[tuple[str, Iterator[Sequence[Any]]]]:
    from registry.exchange.shared_strings import CompactReader

    with path.open("rb") as file, warnings.catch_warnings():
        # It warns of styles and validations that it leaves out, which nobody here wants.
        warnings.simplefilter("ignore")
        reader = CompactReader(file, read_only=True, data_only=True, keep_links=False)
        reader.read()
        workbook = reader.wb
        try:
            for sheet in workbook.worksheets:
                sheet.reset_dimensions()
                yield sheet.title, iter(sheet.iter_rows(values_only=True))
        finally:
            workbook.close()


def _filled(rows: Iterator[Sequence[Any]], found: _Found) -> Iterator[Sequence[Any]]:
    """Rows with merged values everywhere and `FORMULA` where a result is missing."""
    if not found.merged and not found.formulas:
        yield from rows
        return
    starts: dict[tuple[int, int], Any] = {}
    of_row: dict[int, list[tuple[int, int, int, int]]] = {}
    for box in found.merged:
        for number in range(box[0], box[2] + 1):
            of_row.setdefault(number, []).append(box)
    lost: dict[int, list[int]] = {}
    for number, column in found.formulas:
        lost.setdefault(number, []).append(column)
    for number, row in enumerate(rows):
        boxes, columns = of_row.get(number, ()), lost.get(number, ())
        if not boxes and not columns:
            yield row
            continue
        width = max([len(row), *(box[3] + 1 for box in boxes), *(each + 1 for each in columns)])
        cells = [*row, *[None] * (width - len(row))]
        for column in columns:
            cells[column] = FORMULA
        for box in boxes:
            top_left = starts.setdefault(box[:2], cells[box[1]] if number == box[0] else None)
            cells[box[1] : box[3] + 1] = [top_left] * (box[3] - box[1] + 1)
        yield cells
