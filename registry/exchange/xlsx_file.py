"""Rows of XLSX workbooks: small ones at once with python-calamine, others as a stream.

Before any library opens it, the file is gone through: what its parts unpack to, what is merged,
which formulas have no stored value.
"""

import dataclasses
import operator
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import python_calamine

from registry.exchange.records import (
    Block,
    FileRefused,
    Naming,
    names_of_points,
    under_headers,
)
from registry.exchange.row_values import FORMULA, ErrorCell

AT_ONCE_ROWS = 50_000
AT_ONCE_CELLS = 2_000_000
MAX_UNPACKED_BYTES = 4 << 30
MAX_STRINGS_BYTES = 512 << 20
MAX_RATIO = 200
SMALL_BYTES = 64 << 20
"""Parts below this may be packed as tightly as they like."""
MAX_PARTS = 10_000
MAX_MERGED_CELLS = 1_000_000

MAX_PECULIAR_CELLS = 200_000
"""Formulas without a result, and errors; where each is, is kept in memory."""
MAX_SHEET_ROWS = 1_048_576

_BLOCK = 1 << 20
_OLE = bytes.fromhex("d0cf11e0a1b11ae1")
_DECLARED = tuple(
    each.encode(encoding)
    for each in ("<!DOCTYPE", "<!ENTITY")
    for encoding in ("utf-8", "utf-16-le", "utf-16-be")
)
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"<\x00", b"\x00<")
"""How UTF-16 begins, in which python-calamine finds no cells."""
_ROW = re.compile(rb"<(?:\w+:)?row\b")
_CELL = re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"([^>]*)>')
"""A cell as all usual programs write it. The pattern begins with what is looked for letter by
letter, which is three times as quick as any other."""
_REST = re.compile(rb'(?: (?:s|t|cm|vm|ph|i|l|a)="[^"<>]*")*[ \t\r\n]*/?')
"""What else its tag may hold, also in the order of calculation (calcChain.xml)."""
_OPENED = tuple(b"<c" + end for end in (b" ", b">", b"/", b"\t", b"\r", b"\n"))
_PREFIXED = re.compile(rb"<[\w.-]*:c[ \t\r\n>/]")
_EMPTY_FORMULA = re.compile(
    rb'<(?:\w+:)?c\b([^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"[^>]*)>\s*'
    rb"<(?:\w+:)?f\b(?:[^>]*/>|[^>]*>[^<]*</(?:\w+:)?f>)\s*"
    rb"(<(?:\w+:)?v(?:\s*/>|>\s*</(?:\w+:)?v>))?\s*</(?:\w+:)?c>"
)
_ERROR = re.compile(
    rb'<(?:\w+:)?c\b([^>]*\bt="e"[^>]*)>(?:\s*<(?:\w+:)?f\b(?:[^>]*/>|[^>]*>[^<]*</(?:\w+:)?f>))?'
    rb"\s*<(?:\w+:)?v>([^<]{1,40})<"
)
_PLACE = re.compile(rb'\br="([A-Z]{1,3})([0-9]{1,7})"')
_MERGED = re.compile(
    rb'<(?:\w+:)?mergeCell\b[^>]*?\bref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"'
)
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, python_calamine.CalamineError, KeyError, ValueError),
    *(TypeError, AttributeError, IndexError, OSError, EOFError, SyntaxError, NotImplementedError),
    *(RuntimeError, AssertionError, OverflowError),
)


@dataclasses.dataclass(slots=True)
class _Found:
    """What going through a part found. cells: of the area they lie in. peculiar: `FORMULA` and
    errors, by 0-based (row, column), as merged areas are. is_plain: whether all cells were looked
    at; only then is it known how much memory they take at once."""

    rows: int = 0
    cells: int = 0
    is_plain: bool = True
    peculiar: dict[tuple[int, int], Any] = dataclasses.field(default_factory=dict)
    merged: list[tuple[int, int, int, int]] = dataclasses.field(default_factory=list)


def read_xlsx(path: Path, names: Naming = names_of_points) -> Iterator[Block]:
    """Rows of all sheets that hold anything. The value of merged cells stands in each of them.

    Raises: FileRefused for what is no workbook, or unpacks to too much.
    """
    try:
        _refuse_old(path)
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive)
            # Any part can be a sheet, if the workbook says so.
            parts = {each.filename: _go_through(archive, each) for each in archive.infolist()}
        peculiar = any(each.merged or each.peculiar for each in parts.values())
        order = _sheet_parts(path) if peculiar else {}
    except _UNREADABLE as error:
        if isinstance(error, FileRefused):
            raise
        no_archive = "no ZIP archive", "不是 ZIP 压缩包"
        why = no_archive if isinstance(error, zipfile.BadZipFile) else error
        raise FileRefused("no_workbook", why=why) from None
    if not any(name.startswith("xl/worksheets/") for name in parts):
        raise FileRefused("no_sheets")
    small = all(
        each.is_plain and each.rows <= AT_ONCE_ROWS and each.cells <= AT_ONCE_CELLS
        for each in parts.values()
    )
    holds_any = False
    for name, rows in _guarded(_at_once(path) if small else _streamed(path)):
        found = parts.get(order.get(name, ""), _Found())
        holds_any |= yield from under_headers(name, _filled(rows, found), names=names)
    if not holds_any:
        raise FileRefused("empty")


def _refuse_old(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            raise FileRefused("old_workbook")


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


def _blocks(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> Iterator[bytes]:
    """Its bytes. zipfile ends at the declared size and checks the sum, so sizes cannot lie."""
    with archive.open(part) as opened:
        while block := opened.read(_BLOCK):
            yield block


def _refuse_doctype(begin: bytes) -> None:
    if any(each in begin for each in _DECLARED):
        raise FileRefused("doctype")


def _go_through(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> _Found:
    found = _Found()
    last_row, last_column = 0, 0
    count_cells = part.file_size <= SMALL_BYTES
    rest = b""
    for number, block in enumerate(_blocks(archive, part)):
        if number == 0:
            _refuse_doctype(block)
            found.is_plain = count_cells and not block.startswith(_WIDE)
        text = rest + block
        cut = max(text.rfind(b"<row"), text.rfind(b":row"))
        cut = cut if cut > 0 else max(text.rfind(b"</c>") + 4, len(text) - _BLOCK)
        done, rest = text[:cut], text[cut:]
        for chunk in (done,) if len(block) == _BLOCK else (done, rest):
            found.rows += chunk.count(b"<row") or len(_ROW.findall(chunk))
            if count_cells:
                cells = _CELL.findall(chunk)
                letters, rows, rests = (set(map(operator.itemgetter(n), cells)) for n in range(3))
                found.is_plain &= _are_all(chunk, len(cells)) and all(map(_REST.fullmatch, rests))
                last_row = max(last_row, *map(int, rows), 0)
                last_column = max(last_column, *map(_column, letters), 0)
            _note_peculiar(found, chunk)
            if b"mergeCell " in chunk:
                _note_merged(found, chunk)
        if len(block) < _BLOCK:
            rest = b""
    found.rows = max(found.rows, last_row)
    found.cells = last_row * (last_column + 1)
    return found


def _are_all(chunk: bytes, cells: int) -> bool:
    """Whether so many cells are all there are. python-calamine takes memory for the whole area in
    which cells lie, and ends the process where there is not enough; so each must have been seen."""
    if chunk.count(b"<c") != cells and sum(map(chunk.count, _OPENED)) != cells:
        return False
    return b":c" not in chunk or _PREFIXED.search(chunk) is None


def _note_peculiar(found: _Found, chunk: bytes) -> None:
    if b"<f" in chunk or (not found.is_plain and b":f" in chunk):
        for tag, letters, row, value in _EMPTY_FORMULA.findall(chunk):
            # A text of no letters is a result too.
            if not (value and b't="str"' in tag):
                found.peculiar[int(row) - 1, _column(letters)] = FORMULA
    if b't="e"' in chunk:
        for tag, value in _ERROR.findall(chunk):
            if place := _PLACE.search(tag):
                error = ErrorCell(value.decode(errors="replace").strip())
                found.peculiar[int(place[2]) - 1, _column(place[1])] = error
    if len(found.peculiar) > MAX_PECULIAR_CELLS:
        raise FileRefused("too_many_peculiar", most=MAX_PECULIAR_CELLS)


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
                yield sheet.title, _up_to_the_end(sheet.title, sheet.iter_rows(values_only=True))
        finally:
            workbook.close()


def _up_to_the_end(name: str, rows: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Rows of a sheet, unless one says that it is further down than sheets reach: openpyxl gives
    an empty row for each that is not there."""
    for number, row in enumerate(rows):
        if number >= MAX_SHEET_ROWS:
            raise FileRefused("too_many_rows", name, most=MAX_SHEET_ROWS)
        yield row


def _filled(rows: Iterator[Sequence[Any]], found: _Found) -> Iterator[Sequence[Any]]:
    """Rows with merged values everywhere, and with what is peculiar in its place."""
    if not found.merged and not found.peculiar:
        yield from rows
        return
    starts: dict[tuple[int, int], Any] = {}
    of_row: dict[int, list[tuple[int, int, int, int]]] = {}
    for box in found.merged:
        for number in range(box[0], box[2] + 1):
            of_row.setdefault(number, []).append(box)
    lost: dict[int, list[int]] = {}
    for number, column in found.peculiar:
        lost.setdefault(number, []).append(column)
    for number, row in enumerate(rows):
        boxes, columns = of_row.get(number, ()), lost.get(number, ())
        if not boxes and not columns:
            yield row
            continue
        width = max([len(row), *(box[3] + 1 for box in boxes), *(each + 1 for each in columns)])
        cells = [*row, *[None] * (width - len(row))]
        for column in columns:
            cells[column] = found.peculiar[number, column]
        for box in boxes:
            top_left = starts.setdefault(box[:2], cells[box[1]] if number == box[0] else None)
            cells[box[1] : box[3] + 1] = [top_left] * (box[3] - box[1] + 1)
        yield cells
